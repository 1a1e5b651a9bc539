"""How long until a policy is decided: where it stands and how fast units arrive in, seconds out."""

from __future__ import annotations

from otel_perfopt.decide.policy import PolicySpec
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.rollout import Step
from otel_perfopt.decide.state import State
from otel_perfopt.loop.plan import comparison_plan
from otel_perfopt.loop.policy_readings import predicted_effect
from otel_perfopt.verify.comparison_plan import ComparisonPlan
from otel_perfopt.verify.plan_size import Expectation, plan_size

_BEFORE_CANARY = frozenset({State.NEW, State.PROPOSED, State.AWAITING})
_UNDER_WAY = _BEFORE_CANARY | {State.SHADOW, State.CANARY}


class ExpectedTimes:
    """Remembers how many units each digest needs: that takes a search, and changes with the digest alone."""

    def __init__(self) -> None:
        self._needed: dict[str, int] = {}

    def seconds(self, status: PolicyStatus, units_seen: int, units_per_s: float | None, now_ns: int) -> float | None:
        """Return the seconds until a verdict, approvals not counted; None for what is not under way or has no traffic.

        Each step lasts until its least number of units, the last one until as many are there as *better*
        needs about the median, if the prediction is true; never longer than the policy allows.
        """
        if status.state.state not in _UNDER_WAY or not units_per_s:
            return None
        plan = comparison_plan(status.policy, status.state)
        shadow_s = _shadow_left_s(status, now_ns)
        steps = status.policy.spec.rollout.canary_steps
        current = status.state.step if status.state.state is State.CANARY else 1
        waiting_s = 0.0
        for number, step in enumerate(steps, start=1):
            if number >= current:
                last = number == len(steps)
                units = self._units(status, plan) - units_seen if last else plan.min_units
                waiting_s += max(0, units) / (units_per_s * _enrolled(step))
        return shadow_s + min(waiting_s, plan.max_duration_s)

    def _units(self, status: PolicyStatus, plan: ComparisonPlan) -> int:
        known = self._needed.get(status.digest)
        if known is None:
            if len(self._needed) > 1000:
                self._needed.clear()
            known = self._needed[status.digest] = _units_needed(status, plan)
        return known


def _units_needed(status: PolicyStatus, plan: ComparisonPlan) -> int:
    predicted = predicted_effect(status)
    if predicted is None:
        return plan.min_units
    metric, effect = predicted
    expected = {metric: Expectation(change=max(-0.99, effect.estimate))}
    found = plan_size(plan, expected, units_per_day=1.0, treatment_share=_last_share(status.policy.spec))
    return min(plan.max_units, found.units) if found.units is not None else plan.max_units


def _last_share(spec: PolicySpec) -> float:
    steps = spec.rollout.canary_steps
    return steps[-1].allocation.treatment_share if steps else 0.5


def _enrolled(step: Step) -> float:
    return (step.treatment or 0.0) + (step.baseline or 0.0)


def _shadow_left_s(status: PolicyStatus, now_ns: int) -> float:
    shadow_s = status.policy.spec.rollout.shadow_s or 0.0
    if status.state.state is State.SHADOW:
        return max(0.0, shadow_s - (now_ns - status.state.since_ns) / 1e9)
    return shadow_s if status.state.state in _BEFORE_CANARY else 0.0
