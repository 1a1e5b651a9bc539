"""The controller beside the console: a controller in; turns, and what each of them saw as one value for pages, out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.analyse.finding import Finding
from otel_perfopt.console.goal_reading import GoalReading, goal_readings
from otel_perfopt.decide.boundary import SafetyBoundary
from otel_perfopt.decide.learning import Learned
from otel_perfopt.decide.ledger import LedgerHead
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.errors import PerfoptError
from otel_perfopt.execution.model import Execution
from otel_perfopt.loop.controller import Controller, Turn
from otel_perfopt.loop.performance_goals import read_goals
from otel_perfopt.loop.queue import QueueItem, optimization_queue
from otel_perfopt.loop.recent_runs import RecentRuns

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one turn saw, as pages show it; `faults` are sentences on what went wrong without stopping anything.

    `analysis` is None before the first; `unread` counts what telemetry could not be read, by kind.
    """

    turn: Turn
    statuses: tuple[PolicyStatus, ...]
    queue: tuple[QueueItem, ...]
    goals: tuple[GoalReading, ...]
    learned: Learned
    entries: tuple[LedgerEntry, ...]
    head: LedgerHead
    boundaries: tuple[SafetyBoundary, ...]
    analysis: Analysis | None
    findings: Sequence[Finding]
    killed: bool
    healthy: bool
    runs: int
    turns: int
    took_s: float
    unread: int
    faults: tuple[str, ...]

    def status(self, name: str) -> PolicyStatus | None:
        """Return one policy; None where nobody declared it."""
        return next((status for status in self.statuses if status.name == name), None)


class LoopThread:
    """Turns a controller every `every_s` seconds in a thread of its own; a turn that fails is told and followed by the next."""

    def __init__(
        self,
        controller: Controller,
        every_s: float,
        clock: Callable[[], int] = time.time_ns,
        after: Callable[[Turn], None] = lambda _turn: None,
        past: Callable[[], Sequence[Execution]] = tuple,
    ) -> None:
        self._controller = controller
        self._every_s = every_s
        self._clock = clock
        self._after = after
        self._recent = RecentRuns()
        # A controller that goes on where another stood is told of new runs only; the analysis reads the others.
        self._past = past
        self._knows_past = False
        controller.observatory.run_listeners.append(self._hear)
        self._runs = self._turns = 0
        self._asked = threading.Event()
        self._stopped = threading.Event()
        self._turned = threading.Condition()
        self._wanted = 0
        self._done = 0
        self.seen: Seen | None = None
        self.fault = ""
        self._thread = threading.Thread(target=self._go, name="perfopt-loop", daemon=True)

    def start(self) -> None:
        """Begin to turn."""
        self._thread.start()

    def stop(self, limit_s: float = 10.0) -> None:
        """End after the turn under way; what was read is written down."""
        self._stopped.set()
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join(limit_s)
        self._controller.observatory.save()

    @property
    def alive(self) -> bool:
        """Whether turns are still taken."""
        return self._thread.is_alive()

    def look_now(self, limit_s: float = 5.0) -> bool:
        """Take a turn that begins after this call, and wait for its end; False where that takes longer than the limit."""
        with self._turned:
            self._wanted += 1
            mine = self._wanted
            self._asked.set()
            return self._turned.wait_for(lambda: self._done >= mine or self._stopped.is_set(), limit_s)

    def _go(self) -> None:
        while not self._stopped.is_set():
            with self._turned:
                serving = self._wanted
                self._asked.clear()
            self.turn()
            with self._turned:
                self._done = max(self._done, serving)
                self._turned.notify_all()
            self._asked.wait(self._every_s)

    def turn(self) -> None:
        """Take one turn in the caller's thread; never raises."""
        try:
            began = time.monotonic()
            turn = self._controller.turn()
            self._runs += turn.runs
            self._turns += 1
            self.seen = self._see(turn, time.monotonic() - began)
            self.fault = ""
            self._after(turn)
        except Exception as error:
            # Guarding the agents matters more than any one turn: told, and tried again.
            self.fault = f"the last turn failed: {type(error).__name__}: {error}"
            _LOG.exception("a turn of the loop failed")

    def _see(self, turn: Turn, took_s: float) -> Seen:
        controller, policies = self._controller, self._controller.policies
        faults: list[str] = list(turn.problems)
        findings = controller.findings.latest(turn.now_ns, faults.append)
        self._learn_past()
        self._recent.forget_before(turn.now_ns)
        return Seen(
            turn=turn,
            statuses=policies.statuses(turn.now_ns),
            queue=optimization_queue(policies, controller.learned, turn.now_ns),
            goals=self._goals(faults),
            learned=controller.learned,
            entries=policies.ledger.entries,
            head=policies.ledger.head,
            boundaries=policies.boundaries,
            analysis=controller.findings.analysis,
            findings=findings or (),
            killed=policies.killed,
            healthy=policies.healthy,
            runs=self._runs,
            turns=self._turns,
            took_s=took_s,
            unread=sum(controller.observatory.tally.problem_counts.values()),
            faults=tuple(faults),
        )

    def _hear(self, run: Execution) -> None:
        self._recent.observe(run)

    def _learn_past(self) -> None:
        """Take into account, once, the runs of the last hour from before the start."""
        if self._knows_past or self._controller.findings.analysis is None:
            return
        self._knows_past = True
        runs = sorted(self._past(), key=lambda run: run.command.end_ns)
        # Whoever heard as many itself knows more than what is kept to look at.
        if self._runs < len(runs):
            self._recent = RecentRuns()
            for run in runs:
                self._recent.observe(run)

    def _goals(self, faults: list[str]) -> tuple[GoalReading, ...]:
        try:
            return goal_readings(self._recent, read_goals(self._controller.policies.home))
        except PerfoptError as error:
            faults.append(str(error))
            return ()
