"""Whether a promoted policy still helps: its units since promotion and the hold-back beside them in, a loss (or None) out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from otel_perfopt.decide.decision import Decision
from otel_perfopt.verify.comparison import compare
from otel_perfopt.verify.comparison_plan import ComparisonPlan
from otel_perfopt.verify.metric_kind import metric_kind
from otel_perfopt.verify.verdict import MetricResult, Unit

# An improvement surely smaller than this is none, whatever little the goal asks for.
LEAST_BENEFIT = 0.01


def benefit_lost(
    decision: Decision, plan: ComparisonPlan, units: Iterable[Unit], active_ns: int, now_ns: int
) -> str | None:
    """Return why the benefit counts as lost: it is shown to be smaller than the goal asks; None while it is not.

    Time since promotion is cut into periods as long as the policy's `maxDuration`, and only the present
    one is looked at, so that good years do not hide a bad month. Period k is tested at α/(k(k+1)), which
    sum to α: a policy that goes on meeting its goal is retired with probability at most α, ever.
    """
    period_ns = int(plan.max_duration_s * 1e9)
    period = max(0, now_ns - active_ns) // period_ns
    start_ns = active_ns + period * period_ns
    alpha = plan.alpha / ((period + 1) * (period + 2))
    recent = [unit for unit in units if unit.first_ns >= start_ns and unit.stage == decision.stage]
    verdict = compare(decision, replace(plan, alpha=alpha), recent, now_ns)
    goal = next((metric for metric in verdict.metrics if metric.role == "goal"), None)
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
