"""What a policy would mean before it does anything: recorded runs and policies in, one `PolicyPlan` a policy out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.decide.alert_rules import AlertRule, alert_rules
from otel_perfopt.decide.boundary import SafetyBoundary, capped, violations
from otel_perfopt.decide.implementation_plan import (
    ExpectedSize,
    PlannedStep,
    days_until_verdict,
    implementation_plan,
)
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.quantity import format_duration, format_percent
from otel_perfopt.execution.model import Execution
from otel_perfopt.loop.eligibility import Eligibility, Eligible
from otel_perfopt.loop.plan import comparison_plan
from otel_perfopt.verify.metric_kind import FAULT
from otel_perfopt.verify.plan_size import Expectation, PlanSize, plan_size


@dataclass(frozen=True, slots=True)
class WatchedMetric:
    """One metric that will be watched: its role, and what is asked of it or tolerated."""

    metric: str
    role: str
    limit: str


@dataclass(frozen=True, slots=True)
class PolicyPlan:
    """Everything a person may want to know before saying yes; None is not known.

    `predicted` is the share of the goal's metric that the eligible units would save; `size` counts units
    of both arms at that estimate, `size_range` at its interval's better and worse end. `forbidden` is what
    boundaries refuse, `limited` what they narrow without refusing.
    """

    name: str
    digest: str
    optimization: str
    does: str
    risk_level: str
    risk: str
    eligible: Eligible
    predicted: Interval | None
    predicted_metric: str
    assumes: str
    size: ExpectedSize
    size_range: tuple[int | None, int | None]
    by_metric: Mapping[str, int | None]
    steps: tuple[PlannedStep, ...]
    approvers: tuple[str, ...]
    forbidden: tuple[str, ...]
    limited: tuple[str, ...]
    watched: tuple[WatchedMetric, ...]
    alerts: tuple[AlertRule, ...]
    notes: tuple[str, ...] = ()


def policy_plans(
    policies: Sequence[tuple[OptimizationPolicy, str]],
    boundaries: Sequence[SafetyBoundary],
    runs: Iterable[Execution],
) -> tuple[PolicyPlan, ...]:
    """Return the plan of each (policy, digest); `runs` are read once, and may be none at all."""
    watching = [Eligibility(policy) for policy, _ in policies]
    for run in runs:
        if run.finished:
            for one in watching:
                one.observe(run)
    pairs = zip(policies, watching, strict=True)
    return tuple(policy_plan(policy, digest, boundaries, seen.result()) for (policy, digest), seen in pairs)


def policy_plan(
    policy: OptimizationPolicy, digest: str, boundaries: Sequence[SafetyBoundary], eligible: Eligible
) -> PolicyPlan:
    """Return the plan of one policy from what was recorded of its eligible units."""
    spec, kind = policy.spec, policy.spec.kind
    sizes = _sizes(policy, eligible)
    middle = sizes[0]
    per_day = eligible.units_per_day
    units = middle.units if middle is not None else None
    days = days_until_verdict(spec.rollout, units, per_day)
    size = ExpectedSize(units, per_day, days, middle.slowest if middle is not None else "")
    low, high = (found.units if found is not None else None for found in sizes[1:])
    return PolicyPlan(
        name=policy.name,
        digest=digest,
        optimization=spec.optimize.type,
        does=kind.does,
        risk_level=kind.risk.partition(":")[0],
        risk=kind.risk,
        eligible=eligible,
        predicted=eligible.predicted.get(spec.goal.metric),
        predicted_metric=spec.goal.metric,
        assumes=eligible.assumes,
        size=size,
        size_range=(low, high),
        by_metric=middle.by_metric if middle is not None else {},
        steps=_capped_steps(implementation_plan(policy, size), boundaries),
        approvers=spec.approval.approvers,
        forbidden=violations(policy, boundaries),
        limited=_limited(policy, boundaries),
        watched=_watched(policy),
        alerts=alert_rules(policy),
        notes=(*_notes(policy, eligible, units), *_too_slow(policy, per_day)),
    )


def _sizes(policy: OptimizationPolicy, eligible: Eligible) -> tuple[PlanSize | None, PlanSize | None, PlanSize | None]:
    """Return the size at the prediction, and at the better and the worse end of its interval."""
    steps, metric = policy.spec.rollout.canary_steps, policy.spec.goal.metric
    predicted = eligible.predicted.get(metric)
    if predicted is None or not eligible.expected or not steps:
        return None, None, None
    plan, last = comparison_plan(policy), steps[-1].allocation

    def at(saving: float) -> PlanSize:
        known = eligible.expected.get(metric, Expectation())
        expected = {**eligible.expected, metric: replace(known, change=-min(max(saving, 0.0), 0.99))}
        return plan_size(plan, expected, eligible.units_per_day or 1.0, last.treatment_share)

    return at(predicted.estimate), at(predicted.high), at(predicted.low)


def _capped_steps(steps: Sequence[PlannedStep], boundaries: Sequence[SafetyBoundary]) -> tuple[PlannedStep, ...]:
    return tuple(replace(step, allocation=capped(step.allocation, boundaries)) for step in steps)


def _limited(policy: OptimizationPolicy, boundaries: Sequence[SafetyBoundary]) -> tuple[str, ...]:
    said = []
    active = policy.spec.rollout.active_allocation
    for boundary in boundaries:
        limit, name = boundary.spec, boundary.metadata.name
        if limit.max_exposure < active.treatment and policy.spec.mode == "active":
            said.append(f"treatment stays at {format_percent(limit.max_exposure)} when active (boundary {name})")
        rules = {"command": limit.commands, "tool": limit.tools, "model": limit.models}
        said += [
            f"never touches {word} {', '.join(rule.deny)} (boundary {name})"
            for word, rule in rules.items()
            if rule.deny
        ]
    return tuple(said)


def _watched(policy: OptimizationPolicy) -> tuple[WatchedMetric, ...]:
    spec = policy.spec
    asked = f"improves by at least {spec.goal.improve}" if spec.goal.improve.value else "improves"
    guards = (
        WatchedMetric(
            guard.metric, "guardrail", f"{'falls' if guard.higher_is_better else 'rises'} by at most {guard.margin}"
        )
        for guard in spec.guardrails
    )
    always = (
        WatchedMetric(FAULT, "guardrail", "one unit with a fault of ours is tolerated, two roll back"),
        WatchedMetric("sample_ratio", "check", "units arrive in the declared ratio"),
    )
    return (WatchedMetric(spec.goal.metric, "goal", asked), *guards, *always)


def _too_slow(policy: OptimizationPolicy, per_day: float | None) -> tuple[str, ...]:
    """Return what to say where the traffic does not even fill the steps before the last in the time allowed."""
    rollout, limits = policy.spec.rollout, policy.spec.rollout.limits
    steps = rollout.canary_steps
    if not per_day or not steps:
        return ()
    days = sum(limits.min_units / (per_day * (one.allocation.treatment + one.allocation.baseline)) for one in steps)
    if days * 86_400 <= limits.max_duration_s:
        return ()
    allowed = format_duration(limits.max_duration_s)
    return (
        f"minUnits alone take {days:,.0f} days at this traffic, and maxDuration is {allowed}: it would end inconclusive",
    )


def _notes(policy: OptimizationPolicy, eligible: Eligible, units: int | None) -> tuple[str, ...]:
    spec, notes = policy.spec, []
    if not eligible.runs_in_all:
        notes.append("no telemetry was read, so nothing is known of units, effect and days")
    elif not eligible.units:
        notes.append("no recorded run has a call that it would touch; look at match, exclude and effects")
    predicted = eligible.predicted.get(spec.goal.metric)
    if eligible.units and predicted is None:
        notes.append(
            f"no replay predicts {spec.goal.metric} for this type, or there are too few units: shadow and canary show it"
        )
    if units is not None and units > spec.rollout.limits.max_units:
        notes.append(
            f"{units:,} units are needed and maxUnits is {spec.rollout.limits.max_units:,}: it would end inconclusive"
        )
    if units is None and predicted is not None:
        notes.append("at the predicted effect the goal or a guardrail is out of reach: it would end inconclusive")
    return tuple(notes)
