"""Whether a promoted policy still helps: its comparison with the hold-back since promotion in, a loss (or None) out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from otel_perfopt.verify.comparison import Comparison
from otel_perfopt.verify.comparison_plan import ComparisonPlan
from otel_perfopt.verify.metric_kind import metric_kind
from otel_perfopt.verify.verdict import MetricResult

# An improvement surely smaller than this is none, whatever little the goal asks for.
LEAST_BENEFIT = 0.01


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time since promotion that is looked at by itself: when it began, and how."""

    start_ns: int
    plan: ComparisonPlan


def period_of(plan: ComparisonPlan, active_ns: int, now_ns: int) -> Period:
    """Return the present period of a policy that is active since `active_ns`.

    Time since promotion is cut into periods as long as the policy's `maxDuration`, and only the present
    one is looked at, so that good years do not hide a bad month. Period k is tested at α/(k(k+1)), which
    sum to α: a policy that goes on meeting its goal is retired with probability at most α, ever. The first
    has no start: what was begun in the active stage began after promotion, whatever an agent's clock says.
    """
    period_ns = int(plan.max_duration_s * 1e9)
    period = max(0, now_ns - active_ns) // period_ns
    alpha = plan.alpha / ((period + 1) * (period + 2))
    return Period(active_ns + period * period_ns if period else 0, replace(plan, alpha=alpha))


def benefit_lost(comparison: Comparison, plan: ComparisonPlan, now_ns: int) -> str | None:
    """Return why the benefit counts as lost: it is shown to be smaller than the goal asks; None while it is not.

    `comparison` is of the units of the present period, under its plan; `plan` is the policy's own.
    """
    metrics = comparison.verdict(now_ns).metrics
    goal = next((metric for metric in metrics if metric.role == "goal"), None)
    return None if goal is None else _lost(goal, plan)


def _lost(goal: MetricResult, plan: ComparisonPlan) -> str | None:
    asked = plan.goal.improve if plan.goal.improve_absolute is None else plan.goal.improve_absolute
    least = max(asked, LEAST_BENEFIT)
    if goal.effect is None:
        return None
    best = goal.effect.high if metric_kind(goal.metric).higher_is_better else -goal.effect.low
    if best >= least:
        return None
    unit = "points" if goal.absolute else "%"
    return (
        f"the hold-back shows that {goal.metric} improves by less than {least * 100:g} {unit}: at most {best * 100:.1f}"
    )
