"""Conditions on findings and digests of meaning."""

from __future__ import annotations

import pytest

from otel_perfopt.analyse.finding import Effect, Finding, Interval
from otel_perfopt.decide.condition import deciding_finding, when_met
from otel_perfopt.decide.digest import policy_digest
from otel_perfopt.execution.model import Target

NOW = 10**18
MINUTE = 60 * 10**9


def finding(kind: str = "trend", effect: float | None = 0.3, tool: str = "search", window=(0, 0)) -> Finding:
    interval = None if effect is None else Interval(effect, effect, effect)
    return Finding(kind, Target(tool=tool), "s", "d", Effect("latency", "s", interval), window)


@pytest.mark.parametrize(
    ("when", "findings", "expected"),
    [
        (None, None, True),
        ({"finding": "trend"}, None, None),
        ({"finding": "trend"}, [], False),
        ({"finding": "trend"}, [finding("hotspot")], False),
        ({"finding": "trend"}, [finding()], True),
        ({"finding": "trend"}, [finding(tool="other")], False),
        ({"finding": "trend"}, [finding(tool="")], True),
        ({"finding": "trend", "metric": "tokens"}, [finding()], False),
        ({"finding": "trend", "atLeast": "20%"}, [finding()], True),
        ({"finding": "trend", "atLeast": "40%"}, [finding()], False),
        ({"finding": "trend", "atLeast": "20%"}, [finding(effect=-0.3)], True),
        ({"finding": "trend", "atLeast": "20%"}, [finding(effect=None)], None),
        ({"finding": "trend", "atLeast": "20%"}, [finding(effect=None), finding()], True),
        (
            {"finding": "seasonal_peak", "ahead": "30m"},
            [finding("seasonal_peak", window=(NOW + 31 * MINUTE, NOW + 90 * MINUTE))],
            False,
        ),
        (
            {"finding": "seasonal_peak", "ahead": "30m"},
            [finding("seasonal_peak", window=(NOW + 29 * MINUTE, NOW + 90 * MINUTE))],
            True,
        ),
        (
            {"finding": "seasonal_peak", "ahead": "30m"},
            [finding("seasonal_peak", window=(NOW - 90 * MINUTE, NOW))],
            False,
        ),
    ],
)
def test_conditions(policy, when, findings, expected):
    """A condition is met, not met, or nobody knows; only what the policy matches counts."""
    one = policy(**({"when": when} if when else {}))
    assert when_met(one, findings, NOW) is expected
    if when is not None:
        assert (deciding_finding(one, findings or [], NOW) is not None) == (expected is True)


def test_the_digest_is_of_the_meaning(policy):
    """Defaults written out and other units are the same; every change of meaning, and the name, is another."""
    base = policy_digest(policy())
    assert policy_digest(policy(alpha=0.05, mode="active")) == base
    assert policy_digest(policy(optimize={"type": "tool_cache", "with": {"ttl": "300s"}})) == base
    assert policy_digest(policy(match={"tool": "search"})) == base
    changed = [
        policy("q"),
        policy(alpha=0.01),
        policy(optimize={"type": "tool_cache", "with": {"ttl": "301s"}}),
        policy(optimize={"type": "tool_cache", "with": {"invalidates": "x"}}),
        policy(optimize={"type": "tool_cache", "with": {"invalidates": {"x": ["*"]}}}),
        policy(match={"tool": "search", "command": "*"}),
        policy(effects={"search": "read"}),
        policy(approval={"approvers": ["alice"]}),
        policy(goal={"metric": "latency", "improve": "1%"}),
        policy(guardrails=[]),
    ]
    assert len({base, *(policy_digest(one) for one in changed)}) == len(changed) + 1
