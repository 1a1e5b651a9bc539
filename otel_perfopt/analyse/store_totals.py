"""How much there was in a store: a store and a window in, counts, usage and hours over all of its spans out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from otel_perfopt.analyse.analysis import Counts
from otel_perfopt.analyse.error_cost import call_counts, error_target, failed_calls
from otel_perfopt.analyse.totals import Totals
from otel_perfopt.analyse.usage_table import UNSTATED_MODEL, UsageTable
from otel_perfopt.execution.model import Execution, Outcome, StepKind, Target
from otel_perfopt.measure.price import PriceTable, priced
from otel_perfopt.measure.series import SeriesBuilder
from otel_perfopt.measure.sql.conversations import conversation_count
from otel_perfopt.measure.sql.left_runs import left_runs
from otel_perfopt.measure.sql.model_names import model_names
from otel_perfopt.measure.sql.slices_of import slices_of
from otel_perfopt.measure.sql.step_usage import LeftTraces, ListPrice, UnderWay, UsageSum, step_usage
from otel_perfopt.measure.store.slices import Slice
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import Window

_NO_LIMIT: Final = 1e300
_CALLS: Final = frozenset({StepKind.TOOL, StepKind.RETRIEVAL, StepKind.INFERENCE})
Watch = Callable[[Execution], None]


@dataclass(slots=True)
class StoreTotals:
    """Totals, usage and hours of all runs that begin in a window.

    The engine adds up plain traces; the `left_ids` it cannot tell (of several runs, told in layers,
    very long) are read and added up by the code. `unfinished` runs are only counted.
    """

    totals: Totals = field(default_factory=Totals)
    usage: UsageTable = field(default_factory=UsageTable)
    hours: SeriesBuilder = field(default_factory=SeriesBuilder)
    slices: Sequence[Slice] = ()
    left_ids: list[str] = field(default_factory=list)
    errors: Counter[tuple[str, Target]] = field(default_factory=Counter)
    calls: Counter[Target] = field(default_factory=Counter)
    unfinished: int = 0
    conversations: int = 0

    @classmethod
    def of(
        cls,
        store: TelemetryStore,
        window: Window,
        *,
        prices: PriceTable | None = None,
        watch: Iterable[Watch] = (),
        on_progress: Callable[[int, int], None] | None = None,
    ) -> StoreTotals:
        """Ask the store; `watch` is shown the runs that the code reads.

        Raises:
            StoreError: the store cannot be read.
        """
        found = cls(slices=slices_of(store, window))
        table = prices or PriceTable({})
        listed = list_prices(table, model_names(store, window))
        for each in step_usage(store, found.slices, prices=listed, on_progress=on_progress):
            found._take(each)
        for run in left_runs(store, found.left_ids):
            found._observe(priced(run, table), watch)
        found.conversations = conversation_count(store, window)
        found.totals.state_conversations(found.conversations)
        return found

    @property
    def left(self) -> int:
        """How many traces the code had to read."""
        return len(self.left_ids)

    def counts(self) -> Counts:
        """Return how much there was."""
        counts = self.totals.counts()
        return replace(counts, unfinished_runs=self.unfinished)

    def _take(self, found: UsageSum | UnderWay | LeftTraces) -> None:
        if isinstance(found, LeftTraces):
            self.left_ids.extend(found.trace_ids)
        elif isinstance(found, UnderWay):
            self.hours.add_busy(Target(service=found.service, command=found.command), found.hour, found.busy_ns)
        else:
            self._add(found)

    def _add(self, found: UsageSum) -> None:
        self.totals.add_sum(found)
        self.usage.add_sum(found)
        if found.kind in _CALLS:
            of = found.name or UNSTATED_MODEL
            target = Target(model=of) if found.kind is StepKind.INFERENCE else Target(tool=found.name)
            self.calls[target] += found.count
            if found.failed:
                self.errors[found.outcome, target] += found.failed
        if found.kind is None and found.begun_ns > 0:
            target = Target(service=found.service, command=found.name)
            failed = found.count * (found.outcome == Outcome.FAILED.value)
            self.hours.add_runs(target, found.hour, found.seconds, failed, found.tokens.total or 0)

    def _observe(self, run: Execution, watch: Iterable[Watch]) -> None:
        if not run.finished:
            self.unfinished += 1
            return
        self.totals.observe(run)
        self.usage.observe(run)
        self.calls.update(call_counts(run))
        self.errors.update((each.step.error_type or "", error_target(each.step)) for each in failed_calls(run))
        self.hours.add(run)
        for observe in watch:
            observe(run)


def list_prices(prices: PriceTable, models: Iterable[str]) -> list[ListPrice]:
    """Return the prices of the models that the table knows, one row a band of prompt length."""
    return [
        (
            model,
            min(band.up_to_input_tokens, _NO_LIMIT),
            band.input,
            band.output,
            math.nan if band.cache_read is None else band.cache_read,
            band.input if band.cache_write is None else band.cache_write,
        )
        for model in models
        for band in prices.bands(model)
    ]
