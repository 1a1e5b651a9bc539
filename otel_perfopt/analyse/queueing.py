"""Queueing: runs in, tools and models whose calls begin later the more is in flight out."""

from __future__ import annotations

from dataclasses import dataclass, field

from otel_perfopt.analyse.block_slope import block_slope
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.call_times import CallTimes, run_mark
from otel_perfopt.analyse.error_cost import error_target
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.rate_limited import is_rate_limited
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.units import Units, quantiles
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.wording import percent_range, seconds
from otel_perfopt.execution.model import Execution, Step, StepKind, Target

MIN_CALLS = 400
MIN_SHARE = 0.03
MIN_IN_FLIGHT = 2.0
ALPHA = 0.01


@dataclass(slots=True)
class _Queue:
    times: CallTimes = field(default_factory=CallTimes)
    delay_ns: int = 0
    calls: int = 0
    runs: int = 0
    evidence: TopEvidence = field(default_factory=TopEvidence)


class Queueing:
    """Finds targets whose calls wait, with nothing of their run running, at least 3 % of the time, and more under load.

    A call's wait is from the moment everything before it in the run had ended to its start. The
    agent's own work takes the same time however much is in flight; a queue does not.
    """

    name = "queueing"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._targets: BoundedTable[Target, _Queue] = BoundedTable(_Queue, overflow=Target(tool=OTHER), limit=60)
        self._units = Units()

    def observe(self, execution: Execution) -> None:
        """Take one run into account; without a clock nobody waits."""
        if not execution.timed:
            return
        sums: dict[object, float] = {"time": execution.duration_s}
        waited: dict[Target, tuple[int, Step]] = {}
        run = RunView.of(execution)
        mark = run.derive(run_mark)
        for step, delay_ns in run.derive(start_gaps):
            target = error_target(step)
            queue = self._targets[target]
            queue.times.add(mark, step.start_ns, step.end_ns, delay_ns)
            queue.calls += 1
            queue.delay_ns += delay_ns
            sums[target] = sums.get(target, 0.0) + delay_ns / 1e9
            if delay_ns > waited.get(target, (-1, step))[0]:
                waited[target] = (delay_ns, step)
        for target, (delay_ns, step) in waited.items():
            self._targets[target].runs += 1
            note = f"began {seconds(delay_ns / 1e9)} after all before it had ended"
            self._targets[target].evidence.add(delay_ns, execution, step, note)
        self._units.add(execution, sums)

    def findings(self) -> list[Finding]:
        """Return one finding a target that is queued for."""
        asked = [(target, queue) for target, queue in self._targets.rows.items() if queue.calls >= MIN_CALLS]
        found = []
        for target, queue in asked:
            share = self._units.time_share(target, "time", seed=self._seed)
            if share is None or share.low < MIN_SHARE:
                continue
            growth = _growth(queue, level=1 - ALPHA / len(asked))
            if growth is not None and growth.low > 0:
                found.append(self._finding(target, queue, share, growth))
        return found

    def _finding(self, target: Target, queue: _Queue, share: Interval, growth: Interval) -> Finding:
        match = {"model": (target.model,)} if target.model else {"tool": (target.tool,)}
        return Finding(
            kind="queueing",
            target=target,
            summary=(
                f"Calls of {target} begin {seconds(queue.delay_ns / 1e9 / queue.calls)} late on average, "
                f"{seconds(growth.estimate)} ({seconds(growth.low)} to {seconds(growth.high)}) more for each further call "
                f"in flight; these waits are {percent_range(share)} of all time."
            ),
            detector=self.name,
            effect=Effect("latency", "s", share),
            occurrences=queue.calls,
            runs=queue.runs,
            evidence=queue.evidence.kept(),
            suggestion=Suggestion("adaptive_concurrency", {}, match),
        )


def _growth(queue: _Queue, *, level: float) -> Interval | None:
    sample = queue.times.sample()
    if quantiles(sample.in_flight, (0.9,))[0] < MIN_IN_FLIGHT:
        return None
    return block_slope(sample.in_flight, sample.delay_s, level=level)


def start_gaps(execution: Execution) -> tuple[tuple[Step, int], ...]:
    """Return the run's calls with the ns between the end of everything that had begun before and their start.

    A call that overlaps another waited for nothing; one after a refusal backs off, which is no queue.
    """
    gaps: list[tuple[Step, int]] = []
    reached = execution.command.start_ns
    refused = False
    for step in execution.steps:
        if step.kind is StepKind.MODULE_LOAD or step.kind is StepKind.OTHER:
            continue
        if step.kind is not StepKind.THINKING and not refused:
            gaps.append((step, max(0, step.start_ns - reached)))
        if step.end_ns >= reached:
            reached, refused = step.end_ns, step.error_type is not None and is_rate_limited(step)
    return tuple(gaps)
