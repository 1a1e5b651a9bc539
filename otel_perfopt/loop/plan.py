"""What a policy declares, as its comparison needs it: a policy (and what people added to its limits) in, a plan out."""

from __future__ import annotations

from otel_perfopt.decide.guard import limits_of
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.rollout import Goal as DeclaredGoal
from otel_perfopt.decide.rollout import Guardrail as DeclaredGuardrail
from otel_perfopt.decide.state import PolicyState
from otel_perfopt.verify.comparison_plan import ComparisonPlan, Goal, Guardrail
from otel_perfopt.verify.metric_kind import FAULT

# Units with a fault of ours that a roll-out survives: one may be bad luck, more are a pattern.
TOLERATED_FAULTY_UNITS = 1


def comparison_plan(policy: OptimizationPolicy, state: PolicyState | None = None) -> ComparisonPlan:
    """Return the plan; faults of our own are a guardrail of every policy, whatever it declares."""
    spec = policy.spec
    most_units, longest_s = limits_of(policy, state or PolicyState(policy.name))
    return ComparisonPlan(
        goal=_goal(spec.goal),
        guardrails=(
            *(_guardrail(guardrail) for guardrail in spec.guardrails),
            Guardrail(FAULT, max_absolute=float(TOLERATED_FAULTY_UNITS)),
        ),
        alpha=spec.alpha,
        min_units=spec.rollout.limits.min_units,
        max_units=most_units,
        max_duration_s=longest_s,
        warmup_s=spec.rollout.warmup_s,
        on_inconclusive=spec.rollout.on_inconclusive,
    )


def _goal(declared: DeclaredGoal) -> Goal:
    margin = declared.improve
    if margin.absolute:
        return Goal(declared.metric, improve_absolute=margin.value)
    return Goal(declared.metric, improve=margin.value)


def _guardrail(declared: DeclaredGuardrail) -> Guardrail:
    margin = declared.margin
    if margin.absolute:
        return Guardrail(declared.metric, max_absolute=margin.value)
    return Guardrail(declared.metric, max_relative=margin.value)
