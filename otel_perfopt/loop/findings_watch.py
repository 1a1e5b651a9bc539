"""What the agents' telemetry shows, looked at now and then: a home folder in, the latest findings out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.analyse.finding import Finding
from otel_perfopt.analyse.finding_kinds import has_passed
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.execution.source import ExecutionSource
from otel_perfopt.loop.trough_schedule import TroughSchedule
from otel_perfopt.measure.home_prices import prices_of
from otel_perfopt.signal.read.recorded import open_recorded

EVERY_S = 300.0


class FindingsWatch:
    """Analyses the telemetry every `every_s` seconds beside the loop, which never waits for it.

    Conditions of policies (`when`) are judged by these findings. `analysis` is the whole of the last one, None
    before the first; `source` opens what is analysed in place of the telemetry folder. With a `schedule` an analysis
    that is due waits for a trough of the load, or for its deadline.
    """

    def __init__(
        self,
        home: Path,
        telemetry: Path,
        *,
        every_s: float = EVERY_S,
        executor: Executor | None = None,
        source: Callable[[], ExecutionSource] | None = None,
        schedule: TroughSchedule | None = None,
    ) -> None:
        self.analysis: Analysis | None = None
        self._source = source or self._recorded
        self._schedule = schedule
        self._home = home
        self._telemetry = telemetry
        self._every_ns = int(every_s * 1e9)
        self._executor = executor
        self._running: Future[Analysis] | None = None
        self._started_ns: int | None = None
        self._latest: Sequence[Finding] | None = None

    def latest(self, now_ns: int, complain: Callable[[str], None]) -> Sequence[Finding] | None:
        """Return the findings of the last analysis that still hold now; starts the next analysis when it is due.

        None before the first. Peaks and shifts that are over wake nobody, also where no analysis came since.
        """
        self._collect(complain)
        due = self._started_ns is None or now_ns - self._started_ns >= self._every_ns
        due = due and (self._schedule is None or self._schedule.may_begin(now_ns, self._started_ns))
        if due and self._running is None and self._telemetry.is_dir():
            self._executor = self._executor or ThreadPoolExecutor(1, thread_name_prefix="perfopt-analysis")
            self._started_ns = now_ns
            self._running = self._executor.submit(self._analyse)
            self._collect(complain)
        self._forget_passed(now_ns)
        return self._latest

    def _forget_passed(self, now_ns: int) -> None:
        kept = [one for one in self._latest or () if not has_passed(one.kind, one.window_ns, now_ns)]
        # The same findings stay the same object: who answers each analysis once can tell.
        if self._latest is not None and len(kept) < len(self._latest):
            self._latest = tuple(kept)

    def _collect(self, complain: Callable[[str], None]) -> None:
        if self._running is None or not self._running.done():
            return
        finished, self._running = self._running, None
        try:
            self.analysis = finished.result()
            self._latest = self.analysis.findings
            if self._schedule is not None:
                self._schedule.learn(self.analysis)
        except Exception as error:
            # Whatever it is: conditions stay as they were, and the comparisons, which guard the agents, go on.
            complain(f"the analysis of {self._telemetry} failed: {type(error).__name__}: {error}")

    def _analyse(self) -> Analysis:
        return analyse(self._source(), prices=prices_of(self._home))

    def _recorded(self) -> ExecutionSource:
        return RecordedExecutions(open_recorded([self._telemetry]))
