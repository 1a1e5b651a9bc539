"""The gate between shadow and exposure for what shortens a context."""

from __future__ import annotations

import pytest

from otel_perfopt.decide.digest import policy_digest
from otel_perfopt.decide.implementation_plan import implementation_plan
from otel_perfopt.decide.lifecycle import next_transition
from otel_perfopt.decide.observation import Inputs, Observation, Retained, ShadowReport
from otel_perfopt.decide.state import PolicyState, State

NOW_NS = 1_795_000_000_000_000_000
OPEN = {"approval": {"gates": []}, "rollout": {"steps": [{"shadow": "1h"}, {"treatment": "5%", "baseline": "5%"}]}}
KEPT = Retained(200, 1.0, 0.985, 1.0)
UNSURE = Retained(40, 0.99, 0.93, 0.999)
LOST = Retained(60, 0.81, 0.7, 0.9)


def asked(policy, optimization, retained, **limits):
    spec = {**OPEN, "match": {"command": ["/q"]}, "optimize": {"type": optimization}}
    if limits:
        spec["rollout"] = {**OPEN["rollout"], "limits": limits}
    state = PolicyState("p", State.SHADOW, "d1", since_ns=0)
    report = ShadowReport(calls=50, retained=retained)
    return next_transition(policy(**spec), state, Inputs(NOW_NS, "d1", Observation(shadow=report)))


@pytest.mark.parametrize("optimization", ["selective_context", "context_compression"])
@pytest.mark.parametrize(
    ("retained", "after"),
    [(KEPT, State.CANARY), (UNSURE, None), (None, None), (LOST, State.ROLLED_BACK)],
    ids=["kept", "unsure", "unseen", "lost"],
)
def test_only_what_keeps_what_replies_used_comes_to_the_canary(policy, optimization, retained, after):
    """Shown to keep: on; not sure, or nothing seen: wait; shown to lose: back."""
    step = asked(policy, optimization, retained)
    assert (step and step.to_state) == after
    if step is not None:
        assert f"{retained.share:.1%}" in step.reason


def test_the_policy_says_how_much_must_be_kept(policy):
    """Another threshold is another gate; none at all asks for nothing to be seen."""
    assert asked(policy, "selective_context", UNSURE, minRetained="90%").to_state is State.CANARY
    assert asked(policy, "selective_context", LOST, minRetained="60%").to_state is State.CANARY
    assert asked(policy, "selective_context", None, minRetained="0%").to_state is State.CANARY


def test_other_types_are_not_asked(policy):
    """A tool's cache shortens no context."""
    spec = {**OPEN, "match": {"tool": ["search"]}}
    state = PolicyState("p", State.SHADOW, "d1", since_ns=0)
    seen = Observation(shadow=ShadowReport(calls=50))
    assert next_transition(policy(**spec), state, Inputs(NOW_NS, "d1", seen)).to_state is State.CANARY


def test_a_threshold_nobody_set_voids_no_approval(policy):
    """Without one the digest is what it was before there was such a thing."""
    spec = {"match": {"command": ["/q"]}, "optimize": {"type": "selective_context"}}
    plain = policy_digest(policy(**spec))
    assert policy_digest(policy(**spec, rollout={"limits": {}})) == plain
    assert policy_digest(policy(**spec, rollout={"limits": {"minRetained": "98%"}})) != plain


def test_the_plan_says_what_shadow_waits_for(policy):
    """Whoever reads the plan knows that time alone is not enough."""
    spec = {"match": {"command": ["/q"]}, "optimize": {"type": "selective_context"}}
    shadow, *_ = implementation_plan(policy(**spec))
    assert "until it is shown to keep 98% of what replies use" in shadow.does
    other, *_ = implementation_plan(policy(match={"tool": ["search"]}))
    assert "keep" not in other.does
