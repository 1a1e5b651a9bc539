"""What conversations did, from a store: a store and a window in, repeats, sequences and contexts over all spans out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from otel_perfopt.analyse.context_growth import ContextGrowth
from otel_perfopt.analyse.repeat_use import RepeatUse
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.execution.model import Execution
from otel_perfopt.execution.repetition import Repetitions
from otel_perfopt.measure.sql.context_use import context_use
from otel_perfopt.measure.sql.repeats import repeats
from otel_perfopt.measure.sql.transitions import Transitions, transitions
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import Window


@dataclass(slots=True)
class StoreConversations:
    """Repeats, what follows what and contexts of all runs that begin in a window.

    Runs that the engine cannot tell are shown one by one (`observe`), and are compared with each other only.
    """

    repeat_use: RepeatUse = field(default_factory=RepeatUse)
    context: ContextGrowth = field(default_factory=ContextGrowth)
    transitions: Transitions = field(default_factory=Transitions)
    _repetitions: Repetitions = field(default_factory=Repetitions)

    @classmethod
    def of(
        cls, store: TelemetryStore, window: Window, *, left: Sequence[str] = (), spans: int = 0
    ) -> StoreConversations:
        """Ask the store about all traces but those in `left`; `spans` is about how many there are.

        Raises:
            StoreError: the store cannot be read.
        """
        found = cls(transitions=transitions(store, window, left=left, spans=spans))
        for each in repeats(store, window, left=left, spans=spans):
            found.repeat_use.add_sum(each)
        for sums in context_use(store, window, left=left, spans=spans):
            found.context.add_sum(sums)
        return found

    def observe(self, run: Execution) -> None:
        """Take a run into account that the engine left to the code."""
        RunView.of(run).repetition = self._repetitions.observe(run)
        self.repeat_use.observe(run)
        self.context.observe(run)
