"""Boundaries and patterns: what exceeds a limit is named, what is unsure is refused, nothing is widened."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.boundary import CLOSED_BOUNDARY, DEFAULT_BOUNDARY, SafetyBoundary, capped, violations
from otel_perfopt.decide.glob import covers, meet


def boundary(**spec) -> SafetyBoundary:
    return SafetyBoundary.model_validate(
        {"apiVersion": "perfopt.dev/v1", "kind": "SafetyBoundary", "metadata": {"name": "b"}, "spec": spec}
    )


@pytest.mark.parametrize(
    ("limit", "spec", "message"),
    [
        ({"types": ["parallel_tools"]}, {}, "optimize.type is tool_cache, which is not among"),
        ({}, {"approval": "auto"}, "asks nobody before canary and active"),
        ({}, {"approval": {"gates": ["active"]}}, "asks nobody before canary,"),
        ({"allowSelf": False}, {"approval": {"allowSelf": True}}, "allowSelf is true"),
        ({"maxExposure": "20%"}, {}, r"steps\[2\].treatment is 50%, allowed is 20%"),
        ({"tools": {"deny": ["sea*"]}}, {}, "match.tool names search, which is denied"),
        ({"tools": {"allow": ["get_*"]}}, {}, "not within what is allowed: get_"),
        ({"tools": {"allow": ["get_*"]}}, {"match": {"command": "*"}}, "match.tool is not narrowed"),
        ({"commands": {"allow": ["/query"]}}, {"match": {"command": "/q*"}}, "match.command names /q"),
        ({"maxTtl": "1m"}, {}, "ttl is 5m, allowed is 1m"),
        ({"maxEntries": 10}, {}, "maxEntries is 1024, allowed is 10"),
        ({"maxConcurrency": 4}, {"optimize": {"type": "parallel_tools"}}, "maxConcurrency is 8, allowed is 4"),
        ({"maxAlpha": 0.01}, {}, "alpha is 0.05, allowed is 0.01"),
        ({"requireShadow": True}, {"rollout": {"steps": [{"treatment": "5%", "baseline": "5%"}]}, "mode": "canary"}, "no shadow step"),
        ({"budgets": [{"metric": "tokens", "maxIncrease": "1%"}]}, {}, "tokens tolerates 5%, allowed is 1%"),
        ({"budgets": [{"metric": "cost_usd", "maxIncrease": "1%"}]}, {}, "does not watch cost_usd"),
        ({"budgets": [{"metric": "task_failure", "maxIncrease": "1%"}]}, {}, "must be in percent"),
    ],
)  # fmt: skip
def test_each_limit_says_what_exceeds_it(policy, limit, spec, message):
    """Each cap finds the policy that exceeds it, names field and limit, and passes the default policy."""
    (found,) = violations(policy(**spec), [boundary(**limit)])
    assert re.search(message, found), found
    assert found.endswith("(boundary b)")


def test_without_a_boundary_nothing_is_automatic(policy):
    """The default allows a policy that asks, and none that asks nobody."""
    assert violations(policy(), [DEFAULT_BOUNDARY]) == ()
    assert violations(policy(approval="auto"), [DEFAULT_BOUNDARY])
    assert violations(policy(), [CLOSED_BOUNDARY])
    assert violations(policy(approval="auto"), [boundary(automatic=["tool_cache"])]) == ()


def test_several_boundaries_are_as_strict_as_the_strictest(policy):
    """What one allows, another may still forbid; exposure is the least of all."""
    loose, strict = boundary(maxExposure="90%"), boundary(maxExposure="10%", automatic=["tool_cache"])
    assert len(violations(policy(approval="auto"), [loose, strict])) == 2
    assert capped(Allocation(0.95, 0.05), [loose, strict]) == Allocation(0.1, 0.05)
    assert capped(Allocation(0.05, 0.05), [loose, strict]) == Allocation(0.05, 0.05)


PATTERNS = st.text(alphabet="ab*?", max_size=6)
NAMES = st.text(alphabet="ab", max_size=6)


@given(PATTERNS, PATTERNS, NAMES)
def test_patterns_agree_with_matching_names(left: str, right: str, name: str):
    """Covering means every name of one is one of the other; meeting is symmetric and finds common names."""
    if covers(left, right) and fnmatchcase(name, right):
        assert fnmatchcase(name, left)
    if fnmatchcase(name, left) and fnmatchcase(name, right):
        assert meet(left, right)
    assert meet(left, right) == meet(right, left)
    assert covers(left, left)
    assert covers("*", right)


@pytest.mark.parametrize(
    ("outer", "inner", "covered", "met"),
    [
        ("get_*", "get_order", True, True),
        ("get_*", "get_*_x", True, True),
        ("get_?", "get_*", False, True),
        ("get_*", "*", False, True),
        ("get_*", "set_*", False, False),
        ("a[bc]", "ab", False, True),
        ("*" * 200, "a" * 200, True, True),
    ],
)
def test_patterns_by_example(outer, inner, covered, met):
    """A few pairs whose answer is plain."""
    assert (covers(outer, inner), meet(outer, inner)) == (covered, met)
