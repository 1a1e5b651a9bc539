"""Rate limits: runs in, models and tools that turned calls away and the time lost to it out."""

from __future__ import annotations

from dataclasses import dataclass, field

from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.error_cost import call_counts
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.refused_calls import refusals
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.units import Units
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.analyse.wording import counted, percent_range, seconds
from otel_perfopt.execution.model import Execution, Target

MIN_REFUSED = 3
MIN_RATE = 0.01


@dataclass(slots=True)
class _Limited:
    refused: int = 0
    given_up: int = 0
    runs: int = 0
    lost_ns: int = 0
    evidence: TopEvidence = field(default_factory=TopEvidence)


class RateLimit:
    """Finds models and tools that refused at least 1 % of calls for their rate (429 and the like).

    Lost is the refused call and the wait until the next one, while nothing else of the run was running.
    """

    name = "rate_limit"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._targets: BoundedTable[Target, _Limited] = BoundedTable(_Limited, overflow=Target(tool=OTHER), limit=200)
        self._calls: dict[Target, int] = {}
        self._units = Units()

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        run = RunView.of(execution)
        for target, count in run.derive(call_counts).items():
            if target in self._calls or len(self._calls) < 2000:
                self._calls[target] = self._calls.get(target, 0) + count
        sums: dict[object, float] = {"time": execution.duration_s} if execution.timed else {}
        refused = run.derive(refusals)
        for refusal in refused:
            limited = self._targets[refusal.target]
            limited.refused += 1
            limited.given_up += refusal.next_call is None
            lost_s = refusal.lost_ns / 1e9 if execution.timed else 0.0
            limited.lost_ns += round(lost_s * 1e9)
            sums[refusal.target] = sums.get(refusal.target, 0.0) + lost_s
            note = f"{refusal.step.error_type}" + (f", {seconds(lost_s)} lost" if execution.timed else "")
            limited.evidence.add(lost_s, execution, refusal.step, note)
        for target in {refusal.target for refusal in refused}:
            self._targets[target].runs += 1
        self._units.add(execution, sums)

    def findings(self) -> list[Finding]:
        """Return one finding a target that refuses calls."""
        found = []
        for target, limited in self._targets.rows.items():
            rate = wilson(limited.refused, self._calls.get(target, 0))
            if rate is not None and limited.refused >= MIN_REFUSED and rate.estimate >= MIN_RATE:
                found.append(self._finding(target, limited, rate))
        return found

    def _finding(self, target: Target, limited: _Limited, rate: Interval) -> Finding:
        share = self._units.time_share(target, "time", seed=self._seed)
        each = limited.lost_ns / 1e9 / limited.refused
        took = f"; each lost {seconds(each)}, {percent_range(share)} of all time" if share is not None else ""
        gave_up = f", after {limited.given_up:,} of which nobody tried again" if limited.given_up else ""
        match = {"model": (target.model,)} if target.model else {"tool": (target.tool,)}
        return Finding(
            kind="rate_limit",
            target=target,
            summary=(
                f"{target} refused {counted(limited.refused, 'call')} for their rate ({percent_range(rate)} of "
                f"{self._calls[target]:,}){gave_up}{took}; fewer at a time would get through."
            ),
            detector=self.name,
            effect=Effect("latency", "s", share) if share is not None else Effect("error_rate", "1", rate),
            occurrences=limited.refused,
            runs=limited.runs,
            evidence=limited.evidence.kept(),
            suggestion=Suggestion("adaptive_concurrency", {}, match),
        )
