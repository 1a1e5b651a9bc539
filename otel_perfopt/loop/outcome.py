"""What a comparison measured, as the ledger keeps it: a verdict and its units in, plain JSON data out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.loop.user_impact import user_impact
from otel_perfopt.verify.verdict import MetricResult, Unit, Verdict

_KEPT = frozenset({"goal", "guardrail"})
_DAY_NS = 86_400 * 10**9


def outcome_of(verdict: Verdict, units: Sequence[Unit]) -> Mapping[str, Any]:
    """Return the measured effects, counts, load and impact on users; a metric without an effect is left out.

    `effects` has by metric the relative change (or the difference, where `absolute`) of treatment against
    baseline with its interval; `units_per_day` is the load it was measured under.
    """
    effects = {
        result.metric: _effect(result, result.effect)
        for result in verdict.metrics
        if result.role in _KEPT and result.effect is not None
    }
    known = {metric: effect for metric, effect in effects.items() if effect is not None}
    goal = next((result.metric for result in verdict.metrics if result.role == "goal"), "")
    told: dict[str, Any] = {
        "goal": goal,
        "effects": known,
        "treatment_units": verdict.treatment_units,
        "baseline_units": verdict.baseline_units,
        "harmed": [result.metric for result in verdict.metrics if result.harmed],
    }
    load = _units_per_day(units)
    impact = user_impact(units)
    return {**told, **({"units_per_day": load} if load else {}), **({"user_impact": impact} if impact else {})}


def _effect(result: MetricResult, effect: Interval) -> dict[str, Any] | None:
    numbers = {"estimate": effect.estimate, "low": effect.low, "high": effect.high, "level": effect.level}
    if not math.isfinite(effect.estimate):
        return None
    finite = {name: round(value, 6) for name, value in numbers.items() if math.isfinite(value)}
    return {**finite, "role": result.role, "absolute": result.absolute, "held": result.held}


def _units_per_day(units: Sequence[Unit]) -> float | None:
    if len(units) < 2:
        return None
    first, last = min(unit.first_ns for unit in units), max(unit.first_ns for unit in units)
    return round(len(units) * _DAY_NS / (last - first), 3) if last > first else None
