"""A trial with every kind of guardrail, and what it means that two comparisons of it say the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision
from otel_perfopt.verify.comparison import Comparison, ComparisonPlan, Goal, Guardrail

DECISION = Decision("p", "d", "tool_cache", "canary-2", Allocation(0.5, 0.5))
S = 1_000_000_000
PLAN = ComparisonPlan(
    Goal("latency", 0.05),
    (
        Guardrail("task_failure", max_absolute=0.1),
        Guardrail("tool_error", max_relative=0.5),
        Guardrail("latency_p95_exceed", max_relative=0.5),
        Guardrail("latency_spread", max_relative=0.2),
        Guardrail("cost_usd", max_relative=0.2),
        Guardrail("satisfaction", max_relative=0.1),
        Guardrail("fault", max_absolute=1.0),
    ),
    warmup_s=20.0,
)


def same(one: Comparison, other: Comparison, now_ns: int) -> None:
    """Equal in every count and conclusion; sums may differ by the order they were added in."""
    ours, theirs = one.verdict(now_ns), other.verdict(now_ns)
    plain = [replace(verdict, metrics=(), reason="") for verdict in (ours, theirs)]
    assert plain[0] == plain[1]
    for mine, yours in zip(ours.metrics, theirs.metrics, strict=True):
        exact = [replace(metric, effect=None, e_value=None, reason="") for metric in (mine, yours)]
        assert exact[0] == exact[1]
        assert (mine.e_value or 0.0) == pytest.approx(yours.e_value or 0.0, rel=1e-9)
        assert (mine.effect is None) == (yours.effect is None)
        if mine.effect is not None:
            ends = [(effect.estimate, effect.low, effect.high) for effect in (mine.effect, yours.effect)]
            assert ends[0] == pytest.approx(ends[1], rel=1e-9, abs=1e-12)
