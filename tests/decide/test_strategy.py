"""How alternatives share the units: at most one treats a unit, and nobody gets more than its stage allows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from otel_perfopt.decide.allocation import TREATMENT, Allocation
from otel_perfopt.decide.seating import NO_STANDING, Alternative, StrategyStanding, seating
from otel_perfopt.decide.strategy import Strategy

SHARES = st.sampled_from([0.05, 0.1, 0.3, 0.5])


@st.composite
def groups(draw):
    members = []
    for number in range(draw(st.integers(1, 6))):
        active = draw(st.booleans())
        hold_back, share = draw(st.sampled_from([0.05, 0.2])), draw(SHARES)
        allocation = Allocation(1 - hold_back, hold_back) if active else Allocation(share, draw(SHARES))
        hold_out = f"{draw(st.sampled_from([0, 5, 10, 50]))}%"
        settings = Strategy.model_validate({"group": "g", "holdOut": hold_out})
        members.append(Alternative(f"p{number}", allocation, active, settings, "latency", "conversation"))
    front = draw(st.sampled_from(["", *(one.name for one in members)]))
    return members, StrategyStanding(front, draw(st.booleans()))


@given(groups())
def test_no_unit_is_treated_twice_and_nobody_exceeds_its_stage(group):
    """Seats are disjoint, leave every member its baseline, and are at most what each stage declares."""
    members, standing = group
    seats = seating(members, standing).seats
    spans = sorted((seat.start, seat.start + seat.treatment) for seat in seats.values() if seat.treatment)
    assert all(end <= start + 1e-9 for (_, end), (start, _) in pairwise(spans))
    for one in members:
        seat = seats[one.name]
        assert 0 <= seat.treatment <= one.allocation.treatment + 1e-9
        assert seat.baseline <= one.allocation.baseline + 1e-9
        assert all(end <= 1 - seat.baseline + 1e-9 for _, end in spans)
    for number in range(50):
        arms = [one.name for one in members if seats[one.name].arm("salt", str(number)) == TREATMENT]
        assert len(arms) <= 1


def active(name, metric="latency", hold_out="10%"):
    settings = Strategy.model_validate({"group": "g", "holdOut": hold_out})
    return Alternative(
        name, Allocation(0.95, 0.05), is_active=True, settings=settings, metric=metric, unit="conversation"
    )


def test_the_one_in_front_has_all_but_the_hold_outs():
    """Exploiting, the others keep their hold-out; exploring, all have the same."""
    members = [active("a"), active("b"), active("c")]
    seats = seating(members, StrategyStanding("b")).seats
    assert {name: round(seat.treatment, 6) for name, seat in seats.items()} == {"a": 0.1, "b": 0.75, "c": 0.1}
    seats = seating(members, StrategyStanding("b", exploring=True)).seats
    assert {round(seat.treatment, 6) for seat in seats.values()} == {round(0.95 / 3, 6)}


def test_two_canaries_beside_each_other_stay_balanced_with_their_baseline():
    """Where two of 50/50 do not fit, both shrink together, so that each can still be shown better."""
    trying = [replace(active(name), allocation=Allocation(0.5, 0.5), is_active=False) for name in "ab"]
    seats = seating(trying, NO_STANDING).seats
    assert {round(seat.treatment_share, 6) for seat in seats.values()} == {0.5}
    assert {round(seat.treatment, 6) for seat in seats.values()} == {round(1 / 3, 6)}


def test_what_cannot_be_compared_is_no_alternative():
    """Members with another goal get no unit, and it is said."""
    found = seating([active("a"), active("b", metric="tokens")], NO_STANDING)
    assert found.seats["a"].treatment == 0.95
    assert found.seats["b"].treatment == 0.0
    assert "only a is used" in found.problem


def test_a_word_is_a_group_and_a_process_has_no_alternatives(policy):
    """`strategy: name` is enough; what is decided for a whole process cannot be switched."""
    assert policy(strategy="fast-search").spec.strategy.group == "fast-search"
    with pytest.raises(ValidationError, match="a process keeps"):
        policy(strategy="fast-search", rollout={"unit": "process"})
    with pytest.raises(ValidationError, match="holdOut"):
        policy(strategy={"group": "g", "holdOut": "200%"})


def test_nobody_is_in_one_arm_of_a_policy_and_treated_by_another():
    """The baseline of the active one stays untreated by those in canary, however large their steps."""
    trying = [replace(active(name), allocation=Allocation(0.5, 0.05), is_active=False) for name in "bc"]
    front = replace(active("a", hold_out="0%"), allocation=Allocation(0.8, 0.2))
    seats = seating([front, *trying], NO_STANDING).seats
    assert seats["a"].baseline == 0.2
    assert max(seat.start + seat.treatment for seat in seats.values()) <= 0.8 + 1e-9
