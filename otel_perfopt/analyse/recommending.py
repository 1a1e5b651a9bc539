"""What to do about a finding: findings and usage in, impact, prediction, plan and monitoring of each remedy out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from otel_perfopt import conventions as c
from otel_perfopt.analyse.analysis import Counts, Opportunity, UsageRow
from otel_perfopt.analyse.finding import Finding
from otel_perfopt.analyse.ranking import distinct_suggestions
from otel_perfopt.analyse.recommendation import (
    Impact,
    Implementation,
    Monitor,
    PlanStep,
    Prediction,
    Recommendation,
)
from otel_perfopt.analyse.remedy_risk import remedy_risk
from otel_perfopt.analyse.wording import percent_range
from otel_perfopt.execution.model import Target

MAX_RECOMMENDATIONS = 20
# Two-sided 5 %, four chances in five, and half as much again because the verdict may be looked at any time.
_SIZE = (1.96 + 0.84) ** 2 * 1.5
_NORMAL_P95 = 1.645
MIN_UNITS = 100
DAY_NS = 86_400_000_000_000


def recommendations(
    findings: Sequence[Finding],
    opportunities: Sequence[Opportunity],
    commands: Sequence[UsageRow],
    counts: Counts,
    window_ns: tuple[int, int] | None,
) -> tuple[Recommendation, ...]:
    """Return one recommendation for each remedy that ranked findings suggest, in their order; at most twenty.

    Shares are 0 to 1. What is only a bound is recommended after what is predicted, and says so.
    """
    chosen = distinct_suggestions(findings)[:MAX_RECOMMENDATIONS]
    load = _Load.of(commands, counts, window_ns)
    return tuple(_recommendation(finding, findings, opportunities, load) for finding in chosen)


@dataclass(frozen=True, slots=True)
class _Load:
    """How many runs there are, how many a day, and how much their times spread (on the logarithm)."""

    runs: int
    conversations: int
    days: float | None
    spread: Mapping[str, float]

    @classmethod
    def of(cls, commands: Sequence[UsageRow], counts: Counts, window_ns: tuple[int, int] | None) -> _Load:
        days = None if window_ns is None else max((window_ns[1] - window_ns[0]) / DAY_NS, 1 / 24)
        spread = {
            row.name: math.log(row.p95_s / row.p50_s) / _NORMAL_P95
            for row in commands
            if row.p50_s and row.p95_s and row.p95_s > row.p50_s
        }
        return cls(counts.runs, counts.conversations, days, spread)


def _recommendation(
    finding: Finding, findings: Sequence[Finding], opportunities: Sequence[Opportunity], load: _Load
) -> Recommendation:
    suggestion = finding.suggestion
    assert suggestion is not None
    same = [other for other in findings if other is not finding and other.label in finding.overlaps]
    answered = [
        other.label for other in same if other.suggestion and other.suggestion.optimization == suggestion.optimization
    ]
    prediction = _prediction(finding, opportunities)
    return Recommendation(
        title=f"{suggestion.optimization} for {_named(suggestion.match)}",
        reason=finding.summary,
        findings=(finding.label, *dict.fromkeys(answered)),
        impact=_impact(finding, suggestion.optimization, suggestion.match, load),
        prediction=prediction,
        implementation=_implementation(finding, prediction, load),
        monitoring=_monitoring(prediction.metric, finding.target),
        evidence=finding.evidence,
    )


def _named(match: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{word} {name}" for word, names in match.items() for name in names) or "everything"


def _impact(finding: Finding, optimization: str, match: Mapping[str, tuple[str, ...]], load: _Load) -> Impact:
    share = min(1.0, finding.runs / load.runs) if load.runs else None
    return Impact(
        touches=match,
        runs=finding.runs,
        share_of_runs=share,
        runs_a_day=None if load.days is None else finding.runs / load.days,
        risks=remedy_risk(optimization),
    )


def _prediction(finding: Finding, opportunities: Sequence[Opportunity]) -> Prediction:
    suggestion = finding.suggestion
    assert suggestion is not None
    replayed = [
        item
        for item in opportunities
        if item.optimization == suggestion.optimization
        and item.target == finding.target
        and item.metric == _metric(finding)
    ]
    bound = replayed[0].bound_share if replayed else None
    if finding.saving is not None:
        basis = "each recorded run replayed with the change, dependencies respected; interval over conversations"
        return Prediction(_metric(finding), finding.saving, bound, finding.kind == "upper_bound", basis)
    relative = finding.effect.relative
    basis = "the pattern's own share, which no replay has priced: at most this"
    known = relative is not None and finding.effect.metric in _METRICS
    return Prediction(_metric(finding), relative if known else None, bound, known, basis if known else "not known")


def _metric(finding: Finding) -> str:
    return finding.effect.metric if finding.effect.metric in _METRICS else "latency"


def _implementation(finding: Finding, prediction: Prediction, load: _Load) -> Implementation:
    suggestion = finding.suggestion
    assert suggestion is not None
    units = _units(finding, prediction, load)
    days = None
    if units is not None and load.days is not None and load.conversations:
        days = units / (load.conversations / load.days)
    return Implementation(
        optimization=suggestion.optimization,
        parameters=suggestion.parameters,
        match=suggestion.match,
        steps=_steps(prediction),
        expected_units=units,
        expected_days=days,
    )


def _units(finding: Finding, prediction: Prediction, load: _Load) -> int | None:
    """Return how many conversations, both arms together, a change of time of this size needs to show (normal theory)."""
    share = None if prediction.upper_bound or prediction.share is None else prediction.share.estimate
    spread = load.spread.get(finding.target.command) or max(load.spread.values(), default=0.0)
    if share is None or not 0 < share < 1 or not spread or prediction.metric != "latency":
        return None
    an_arm = _SIZE * 2 * (spread / math.log(1 - share)) ** 2
    return 2 * max(MIN_UNITS, math.ceil(an_arm))


def _steps(prediction: Prediction) -> tuple[PlanStep, ...]:
    goal = "the goal is better and every guardrail no worse"
    if prediction.share is not None and not prediction.upper_bound:
        goal = (
            f"{prediction.metric} is lower, by {percent_range(prediction.share)} of all as predicted; guardrails hold"
        )
    return (
        PlanStep("write the policy and let its owner approve it", 0.0, "a person other than its author says yes"),
        PlanStep("watch in shadow", 0.0, "a day without faults or false hits"),
        PlanStep("canary", 0.05, "100 conversations an arm and no harm shown"),
        PlanStep("half of all", 0.5, goal),
        PlanStep("everybody but a hold-back of 5 %", 0.95, "the hold-back keeps showing the benefit"),
    )


# What a saving is of: the metrics that show it.
_METRICS: Mapping[str, tuple[str, str]] = {
    "latency": c.METRIC_COMMAND_DURATION,
    "input_tokens": c.METRIC_TOKENS,
    "output_tokens": c.METRIC_TOKENS,
    "cost_usd": c.METRIC_COMMAND_COST,
    "memory": c.METRIC_MEMORY,
}


def _monitoring(metric: str, target: Target) -> tuple[Monitor, ...]:
    where = f" of {target}" if target != Target() else ""
    name, unit = _METRICS[metric]
    return (
        Monitor(name, unit, "PerfoptBenefitGone", f"the {metric}{where} of the hold-back is no longer higher"),
        Monitor(*c.METRIC_ERRORS, "PerfoptHarmNear", "evidence that failures rose is past half way"),
        Monitor(*c.METRIC_COMMAND_DURATION, "PerfoptHarmNear", "evidence that slow runs became more is past half way"),
        Monitor(*c.METRIC_FAULTS, "PerfoptRolledBack", "the policy was taken back"),
        Monitor(*c.METRIC_SATISFACTION, "PerfoptHarmNear", f"satisfaction{where} is lower than that of the hold-back"),
    )
