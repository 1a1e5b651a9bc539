"""Alternatives through the controller: at most one treats a unit, the better one is in front, harm leaves baseline."""

from __future__ import annotations

from collections import Counter

import pytest
from adaptive_fleet import AdaptiveFleet

from otel_perfopt.decide.allocation import TREATMENT
from otel_perfopt.decide.seating import EXPLORE_EVENT, SWITCH_EVENT
from otel_perfopt.decide.state import State
from otel_perfopt.loop.controller import Controller

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {{name: {name}, author: somebody}}
spec:
  strategy: {{group: search-speed, holdOut: 15%, dwell: 5m, maxUnits: 1500}}
  match: {{command: [/task]}}
  optimize: {optimize}
  rollout:
    warmup: 0s
    steps: [{{treatment: 50%, baseline: 50%}}]
    limits: {{minUnits: 100, maxUnits: 4000}}
  goal: {{metric: latency, improve: 0%}}
  guardrails: [{{metric: task_failure, maxIncrease: 20pp}}]
"""
PARALLEL, CACHE = "{type: parallel_tools}", "{type: tool_cache}"


@pytest.fixture
def fleet(tmp_path):
    return AdaptiveFleet(tmp_path)


@pytest.fixture
def controller(fleet):
    folder = fleet.home / "policies"
    folder.mkdir()
    (folder / "ahead.yaml").write_text(POLICY.format(name="ahead", optimize=PARALLEL))
    (folder / "cached.yaml").write_text(POLICY.format(name="cached", optimize=CACHE))
    made = Controller(fleet.home, fleet.clock)
    made.turn()
    for name in ("ahead", "cached"):
        made.policies.approve(name, "a-second-person", "looked at it", fleet.now_ns, "canary")
    made.turn()
    return made


def lives(controller, fleet, turns, seconds, **more):
    for _ in range(turns):
        fleet.live(60, seconds, **more)
        turn = controller.turn()
        assert not turn.problems
        at_most_one(fleet)


def at_most_one(fleet):
    """No unit is treated by two alternatives, whatever the snapshot says."""
    decisions = fleet.snapshot().decisions
    for number in range(40):
        treated = [one.policy for one in decisions if one.allocation.arm(one.salt, f"any-{number}") == TREATMENT]
        assert len(treated) <= 1


def states(controller, fleet):
    return {one.name: one.state.state for one in controller.policies.statuses(fleet.now_ns)}


def promoted(controller, fleet):
    """Let both be shown better than baseline, with every approval."""
    for name in ("ahead", "cached"):
        controller.policies.approve(name, "a-second-person", "both may stay", fleet.now_ns, "active")
    for _ in range(40):
        lives(controller, fleet, 1, lambda treated, _: 0.6 if treated else 1.0)
        if set(states(controller, fleet).values()) == {State.ACTIVE}:
            return
    pytest.fail(f"not both active: {states(controller, fleet)}")


def by_day(treated, _):
    return 0.5 if "ahead" in treated else 0.75 if treated else 1.0


def under_load(treated, _):
    return 1.6 if "ahead" in treated else 0.9 if treated else 2.0


def shares(fleet):
    return {one.policy: one.allocation.treatment for one in fleet.snapshot().decisions}


def standing(controller):
    return controller.policies.journal.adaptations.strategy("search-speed")


def until_settled(controller, fleet, front, seconds, turns=60):
    for _ in range(turns):
        lives(controller, fleet, 1, seconds)
        if standing(controller).front == front and not standing(controller).exploring:
            return
    pytest.fail(f"{standing(controller)} after {turns} turns")


def test_what_is_better_now_is_in_front_and_a_flip_switches_it_with_evidence(controller, fleet):
    """By day one, under load the other; every change is in the ledger with its numbers and within the approvals."""
    assert list(shares(fleet).values()) == [pytest.approx(1 / 3)] * 2
    promoted(controller, fleet)
    until_settled(controller, fleet, "ahead", by_day)
    assert shares(fleet) == {"ahead": pytest.approx(0.8), "cached": pytest.approx(0.15)}
    until_settled(controller, fleet, "cached", under_load)
    assert shares(fleet) == {"ahead": pytest.approx(0.15), "cached": pytest.approx(0.8)}
    entries = controller.policies.ledger.entries
    events = Counter(entry.event for entry in entries)
    assert events[EXPLORE_EVENT] >= 2
    last = [entry for entry in entries if entry.event == SWITCH_EVENT][-1]
    assert last.policy == "cached"
    assert last.details["high"] < 0
    assert last.details["units"]["ahead"] >= 100
    assert "cached is shown better than ahead" in last.reason
    assert set(states(controller, fleet).values()) == {State.ACTIVE}


def test_a_restarted_controller_keeps_the_front_that_the_ledger_names(controller, fleet):
    """The same shares stand after a restart, before anything new is known."""
    promoted(controller, fleet)
    until_settled(controller, fleet, "ahead", by_day)
    before = shares(fleet)
    again = Controller(fleet.home, fleet.clock)
    again.turn()
    assert shares(fleet) == before


def test_where_all_alternatives_harm_everybody_is_baseline(controller, fleet):
    """Harm of the one in front hands over to the other; harm of both leaves baseline, by the life cycle alone."""
    promoted(controller, fleet)
    until_settled(controller, fleet, "ahead", by_day)
    for _ in range(60):
        lives(controller, fleet, 1, lambda treated, _: 1.7 if treated else 1.0)
        if not fleet.snapshot().decisions:
            break
    assert set(states(controller, fleet).values()) == {State.ROLLED_BACK}
    assert fleet.snapshot().decisions == ()


def test_an_alternative_nobody_approved_is_never_used(fleet):
    """Only what was approved is switched between, however slow the rest is."""
    folder = fleet.home / "policies"
    folder.mkdir()
    for name, optimize in (("ahead", PARALLEL), ("cached", CACHE)):
        (folder / f"{name}.yaml").write_text(POLICY.format(name=name, optimize=optimize))
    made = Controller(fleet.home, fleet.clock)
    made.turn()
    made.policies.approve("ahead", "a-second-person", "looked at it", fleet.now_ns, "canary")
    for _ in range(6):
        lives(made, fleet, 1, lambda treated, _: 3.0 if treated else 1.0)
        assert set(shares(fleet)) <= {"ahead"}
