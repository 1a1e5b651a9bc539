"""What will happen to a policy, step by step: a policy and its expected traffic in, steps with units and days out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.quantity import format_duration, format_percent
from otel_perfopt.decide.rollout import Rollout

_DAY_S = 86_400.0
NOBODY = Allocation()


@dataclass(frozen=True, slots=True)
class ExpectedSize:
    """How large a trial will be: units of both arms until a verdict, eligible units a day, and days in all.

    None is not known. `slowest` is the metric everything waits for.
    """

    units: int | None = None
    units_per_day: float | None = None
    days: float | None = None
    slowest: str = ""


UNKNOWN_SIZE = ExpectedSize()


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step: its stage, who is in each arm, the gate before it, and units and days it should take (None: unknown)."""

    stage: str
    does: str
    gate: str = ""
    allocation: Allocation = NOBODY
    units: int | None = None
    days: float | None = None


def implementation_plan(policy: OptimizationPolicy, size: ExpectedSize = UNKNOWN_SIZE) -> tuple[PlannedStep, ...]:
    """Return every step from approval to the hold-back; steps beyond the policy's mode are left out."""
    return tuple(_steps(policy, size)) if policy.spec.mode != "disabled" else ()


def days_until_verdict(rollout: Rollout, units: int | None, units_per_day: float | None) -> float | None:
    """Return the days from the first step to a verdict on `units` in the last one, approvals not counted."""
    steps = rollout.canary_steps
    if units is None or not units_per_day or not steps:
        return None
    needed = [*(rollout.limits.min_units for _ in steps[:-1]), units]
    shares = [step.allocation.treatment + step.allocation.baseline for step in steps]
    waiting = sum(count / (units_per_day * share) for count, share in zip(needed, shares, strict=True))
    return (rollout.shadow_s or 0.0) / _DAY_S + min(waiting, rollout.limits.max_duration_s / _DAY_S)


def _steps(policy: OptimizationPolicy, size: ExpectedSize) -> Iterator[PlannedStep]:
    spec = policy.spec
    rollout, gates = spec.rollout, set(spec.approval.gates)
    if rollout.shadow_s is not None:
        long = format_duration(rollout.shadow_s)
        gate = "shadow" if "shadow" in gates else ""
        kept = spec.needed_retention
        until = f", and until it is shown to keep {format_percent(kept)} of what replies use" if kept else ""
        does = f"watches for {long}{until}, changes nothing"
        yield PlannedStep("shadow", does, gate, days=rollout.shadow_s / _DAY_S)
    if spec.mode == "shadow":
        return
    steps = rollout.canary_steps
    for number, step in enumerate(steps, start=1):
        last = number == len(steps)
        units = size.units if last else rollout.limits.min_units
        enrolled = step.allocation.treatment + step.allocation.baseline
        days = units / (size.units_per_day * enrolled) if units is not None and size.units_per_day else None
        gate = "canary" if number == 1 and "canary" in gates else ""
        yield PlannedStep(f"canary-{number}", _does(rollout, number), gate, step.allocation, units, days)
    if spec.mode == "active":
        held = format_percent(rollout.holdback)
        gate = "active" if "active" in gates else ""
        does = f"treats all but {held}, compared with them for as long as it stays"
        yield PlannedStep("active", does, gate, rollout.active_allocation)


def _does(rollout: Rollout, number: int) -> str:
    steps = rollout.canary_steps
    step = steps[number - 1]
    shares = f"treats {format_percent(step.treatment or 0)} beside {format_percent(step.baseline or 0)} baseline"
    if number < len(steps):
        return f"{shares} until {rollout.limits.min_units:,} units show no harm"
    most, long = rollout.limits.max_units, format_duration(rollout.limits.max_duration_s)
    return f"{shares} until a verdict, at most {most:,} units or {long}"
