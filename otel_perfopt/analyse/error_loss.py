"""Errors worth attention: runs in, what keeps failing and what that costs, and calls retried over and over, out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.error_cost import FailedCall, call_counts, error_target, failed_calls
from otel_perfopt.analyse.failed_reads import FailedReads
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.units import Units
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.waiting import waits_for_person
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.analyse.wording import percent, percent_range, seconds, tokens
from otel_perfopt.execution.effect_order import may_write
from otel_perfopt.execution.model import Execution, Step, StepKind, Target

MIN_ERRORS = 3
MIN_RATE = 0.05
MIN_TIME_SHARE = 0.01
STORM = 3


@dataclass(slots=True)
class _Failing:
    calls: int = 0
    errors: int = 0
    retries: int = 0
    runs: int = 0
    lost_ns: int = 0
    lost_tokens: int = 0
    storms: int = 0
    storm_calls: int = 0
    storm_runs: int = 0
    storm_ns: int = 0
    storms_retried: int = 0
    types: dict[str, int] = field(default_factory=dict)
    evidence: TopEvidence = field(default_factory=TopEvidence)
    storm_evidence: TopEvidence = field(default_factory=TopEvidence)


class ErrorLoss:
    """Finds tools and models that fail in at least 5 % of calls or lose 1 % of the time, and retry storms.

    A retry storm is the same tool or model failing three times or more in a row within one run.
    """

    name = "error_loss"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        overflow = Target(tool=OTHER)
        self._targets: BoundedTable[Target, _Failing] = BoundedTable(_Failing, overflow=overflow, limit=300)
        self._units = Units()
        self._reads = FailedReads()

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        self._reads.observe(RunView.of(execution))
        for target, count in RunView.of(execution).derive(call_counts).items():
            self._targets[target].calls += count
        lost: dict[object, float] = {"time": execution.duration_s} if execution.timed else {}
        failures = [
            failure for failure in RunView.of(execution).derive(failed_calls) if not waits_for_person(failure.step)
        ]
        for target in {error_target(failure.step) for failure in failures}:
            self._targets[target].runs += 1
        for failure in failures:
            self._add(execution, failure, lost)
        for storm in _storms(execution):
            self._add_storm(execution, storm, lost)
        self._units.add(execution, lost)

    def _add(self, execution: Execution, failure: FailedCall, lost: dict[object, float]) -> None:
        target = error_target(failure.step)
        failing = self._targets[target]
        failing.errors += 1
        failing.retries += failure.retried
        failing.lost_tokens += failure.lost_tokens or 0
        kind = failure.step.error_type or OTHER
        if kind in failing.types or len(failing.types) < 20:
            failing.types[kind] = failing.types.get(kind, 0) + 1
        if execution.timed:
            failing.lost_ns += failure.lost_ns
            lost[target] = lost.get(target, 0.0) + failure.lost_ns / 1e9
        note = f"{kind}, {seconds(failure.lost_ns / 1e9)} lost" if execution.timed else kind
        failing.evidence.add(failure.lost_ns, execution, failure.step, note)

    def _add_storm(self, execution: Execution, storm: list[Step], lost: dict[object, float]) -> None:
        target = error_target(storm[0])
        failing = self._targets[target]
        failing.storms += 1
        failing.storm_calls += len(storm)
        failing.storms_retried += _is_retry(storm)
        failing.storm_runs += 1
        spent = max(0, storm[-1].end_ns - storm[0].start_ns) if execution.timed else 0
        failing.storm_ns += spent
        lost["storm", target] = lost.get(("storm", target), 0.0) + spent / 1e9
        note = f"{len(storm)} failures in a row" + (f", {seconds(spent / 1e9)}" if execution.timed else "")
        failing.storm_evidence.add(len(storm), execution, storm[0], note)

    def findings(self) -> list[Finding]:
        """Return up to two findings a target: its errors, and its storms."""
        found = []
        for target, failing in self._targets.rows.items():
            share = self._units.time_share(target, "time", seed=self._seed)
            rate = wilson(failing.errors, failing.calls)
            often = rate is not None and rate.low >= MIN_RATE
            costly = share is not None and share.estimate >= MIN_TIME_SHARE
            if failing.errors >= MIN_ERRORS and rate is not None and (often or costly):
                found.append(self._errors(target, failing, rate, share))
            if failing.storms >= 2:
                found.append(self._storm(target, failing))
        return found

    def _errors(self, target: Target, failing: _Failing, rate: Interval, share: Interval | None) -> Finding:
        kinds = sorted(failing.types, key=lambda kind: (-failing.types[kind], kind))[:3]
        losses = [f"{percent_range(share)} of all time"] if share is not None else []
        losses += [f"{tokens(failing.lost_tokens)} of output"] if failing.lost_tokens else []
        lost = f"; lost to them: {' and '.join(losses)}" if losses else ""
        return Finding(
            kind="errors",
            target=target,
            summary=(
                f"{percent_range(rate)} of the {failing.calls:,} calls of {target} fail ({', '.join(kinds)}), "
                f"{percent(failing.retries / failing.errors)} are followed by another try{lost}.{self._foretold(target)}"
            ),
            detector=self.name,
            effect=Effect("latency", "s", share) if share is not None else Effect("error_rate", "1", rate),
            occurrences=failing.errors,
            runs=failing.runs,
            evidence=failing.evidence.kept(),
            suggestion=self._remedy(target),
        )

    def _foretold(self, target: Target) -> str:
        """Say what tries at once would mend; empty where nothing speaks for them."""
        mended = self._reads.mended(target.tool) if target.tool else None
        if mended is None:
            return ""
        fatal = self._reads.fatal(target.tool)
        commands = f"; {fatal:,} commands failed on one" if fatal else ""
        return (
            f" Made again at once, {percent_range(mended)} of the reads that failed in passing would go well{commands}."
        )

    def _remedy(self, target: Target) -> Suggestion | None:
        if not target.tool or self._reads.mended(target.tool) is None:
            return None
        return Suggestion("retry_hedge", self._reads.parameters(target.tool), {"tool": (target.tool,)})

    def _storm(self, target: Target, failing: _Failing) -> Finding:
        share = self._units.time_share(("storm", target), "time", seed=self._seed)
        took = f", taking {seconds(failing.storm_ns / 1e9)} together" if failing.storm_ns else ""
        return Finding(
            kind="retry_storm",
            target=target,
            summary=(
                f"{target} failed three times or more in a row on {failing.storms:,} occasions "
                f"({failing.storm_calls:,} calls{took})."
            ),
            detector=self.name,
            effect=_storm_effect(failing, share),
            occurrences=failing.storms,
            runs=failing.storm_runs,
            evidence=failing.storm_evidence.kept(),
            suggestion=_budget(target) if failing.storms_retried * 2 > failing.storms else None,
        )


def _storm_effect(failing: _Failing, share: Interval | None) -> Effect:
    if share is not None:
        return Effect("latency", "s", share)
    return Effect("calls", "1", wilson(failing.storm_calls, failing.calls))


def _is_retry(storm: list[Step]) -> bool:
    """Tell whether the calls are one call made again, and one that may be: a model's, or a read with equal arguments."""
    if storm[0].kind is StepKind.INFERENCE:
        return True
    arguments = {step.arguments_digest for step in storm}
    return len(arguments) == 1 and "" not in arguments and not any(may_write(step) for step in storm)


def _budget(target: Target) -> Suggestion:
    return Suggestion("retry_hedge", {}, {"model": (target.model,)} if target.model else {"tool": (target.tool,)})


def _failed(step: Step) -> bool:
    return step.error_type is not None and not waits_for_person(step)


def _storms(execution: Execution) -> Iterator[list[Step]]:
    run = RunView.of(execution)
    for calls in (run.calls, run.inferences):
        for (_, failed), group in groupby(calls, key=lambda step: (step.name, _failed(step))):
            steps = list(group)
            if failed and len(steps) >= STORM:
                yield steps
