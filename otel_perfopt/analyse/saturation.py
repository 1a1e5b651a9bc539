"""Saturation: runs in, models and tools that answer more slowly the more calls are in flight out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from otel_perfopt.analyse.block_slope import block_slope
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.call_times import CallSample, CallTimes, run_mark
from otel_perfopt.analyse.error_cost import error_target
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.units import quantiles
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.waiting import waits_for_person
from otel_perfopt.analyse.wording import percent, percent_range
from otel_perfopt.execution.model import Execution, Step, Target

MIN_CALLS = 400
MIN_IN_FLIGHT = 3.0
# Slower by this much each time the calls in flight double.
MIN_PER_DOUBLING = 0.1
ALPHA = 0.01


@dataclass(slots=True)
class _Called:
    times: CallTimes = field(default_factory=CallTimes)
    runs: int = 0
    seen: str = ""
    evidence: TopEvidence = field(default_factory=TopEvidence)


class Saturation:
    """Finds models and tools whose calls take at least 10 % longer whenever twice as many are in flight.

    Neighbouring calls are compared, so a busy hour that is slow for other reasons shows nothing. A
    backend that is slow for a minute fills up as well: that looks the same from here.
    """

    name = "saturation"

    def __init__(self, seed: int = 0) -> None:
        del seed  # the interval needs no draws
        self._targets: BoundedTable[Target, _Called] = BoundedTable(_Called, overflow=Target(tool=OTHER), limit=60)

    def observe(self, execution: Execution) -> None:
        """Take one run into account; without a clock nothing is in flight."""
        if not execution.timed:
            return
        run = RunView.of(execution)
        mark = run.derive(run_mark)
        for step in (*run.inferences, *run.calls):
            if step.error_type is None and step.end_ns > step.start_ns and not waits_for_person(step):
                self._add(execution, step, mark)

    def _add(self, execution: Execution, step: Step, mark: int) -> None:
        called = self._targets[error_target(step)]
        called.times.add(mark, step.start_ns, step.end_ns)
        if called.seen != execution.trace_id:
            called.seen = execution.trace_id
            called.runs += 1
            called.evidence.add(step.duration_s, execution, step, "among its longest calls")

    def findings(self) -> list[Finding]:
        """Return one finding a saturated target."""
        asked = [(target, called) for target, called in self._targets.rows.items() if len(called.times) >= MIN_CALLS]
        found = []
        for target, called in asked:
            sample = called.times.sample()
            if quantiles(sample.in_flight, (0.9,))[0] < MIN_IN_FLIGHT:
                continue
            slope = _per_doubling(sample, level=1 - ALPHA / len(asked))
            if slope is not None and slope.low > 0 and slope.estimate >= MIN_PER_DOUBLING:
                found.append(self._finding(target, called, sample, slope))
        return found

    def _finding(self, target: Target, called: _Called, sample: CallSample, slope: Interval) -> Finding:
        usual, busy = quantiles(sample.in_flight, (0.5, 0.95))
        doublings = math.log2((1 + busy) / (1 + usual))
        match = {"model": (target.model,)} if target.model else {"tool": (target.tool,)}
        return Finding(
            kind="saturation",
            target=target,
            summary=(
                f"Calls of {target} take {percent_range(slope)} longer each time twice as many are in flight: at "
                f"{busy:.0f} of them some {percent((1 + slope.estimate) ** doublings - 1)} longer than at {usual:.0f}."
            ),
            detector=self.name,
            effect=Effect("call_latency", "s", slope),
            occurrences=len(sample.duration_s),
            runs=called.runs,
            evidence=called.evidence.kept(),
            suggestion=Suggestion("adaptive_concurrency", {}, match),
        )


def _per_doubling(sample: CallSample, *, level: float) -> Interval | None:
    slope = block_slope(np.log2(1 + sample.in_flight), np.log(sample.duration_s), level=level)
    if slope is None:
        return None
    return slope.through(lambda value: math.expm1(min(20.0, value)))
