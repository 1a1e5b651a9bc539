"""From shadow to canary, or back, by what a shorter context kept; on telemetry whose truth is known."""

from __future__ import annotations

import random

import pytest
from simulated_fleet import SECOND, SimulatedFleet

from otel_perfopt import conventions as c
from otel_perfopt.decide.state import State
from otel_perfopt.loop.controller import Controller
from otel_perfopt.loop.policy_readings import policy_readings
from otel_perfopt.report.standing import what_now

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: sections, author: somebody}
spec:
  match: {command: [/task]}
  optimize: {type: selective_context}
  rollout:
    warmup: 0s
    steps: [{shadow: 30s}, {treatment: 50%, baseline: 50%}]
  goal: {metric: tokens, improve: 10%}
  guardrails: [{metric: task_failure, maxIncrease: 10pp}]
"""


class QuotingFleet(SimulatedFleet):
    """Agents of which one conversation in two quotes its context; `lost` is how often, and how much is left out then."""

    lost = (0.0, 0.0)

    def _write(self, attributes, seconds, *, failed):
        chance = random.Random(self.count)
        if chance.random() < 0.5 and c.policy_attribute("sections", c.POLICY_STAGE) in attributes:
            used = chance.randint(4, 12)
            gone = round(used * self.lost[1]) if chance.random() < self.lost[0] else 0
            attributes |= {
                c.policy_attribute("sections", c.POLICY_USED): used,
                c.policy_attribute("sections", c.POLICY_USED_KEPT): used - gone,
            }
        super()._write(attributes, seconds, failed=failed)


@pytest.fixture
def fleet(tmp_path):
    return QuotingFleet(tmp_path)


@pytest.fixture
def controller(fleet):
    folder = fleet.home / "policies"
    folder.mkdir()
    (folder / "sections.yaml").write_text(POLICY)
    controller = Controller(fleet.home, fleet.clock)
    controller.turn()
    controller.policies.approve("sections", "a-second-person", "looked at it", fleet.now_ns, "canary")
    return controller


def follow(controller, fleet, turns):
    """Let conversations and turns follow each other; returns the states it was in, with the reason for the last step."""
    states = []
    for _ in range(turns):
        fleet.converse(20)
        fleet.now_ns += 3 * SECOND
        controller.turn()
        status = controller.policies.status("sections", fleet.now_ns)
        states.append(status.state.state)
        if states[-1] not in (State.SHADOW, State.AWAITING, State.PROPOSED):
            break
    return states


def reason(controller):
    return [entry.reason for entry in controller.policies.ledger.entries if entry.policy == "sections"][-1]


def test_a_selection_that_drops_what_is_used_is_stopped_in_shadow(controller, fleet):
    """One conversation in three would have lost half of what its replies used: nobody is ever exposed to that."""
    fleet.lost = (0.33, 0.5)
    states = follow(controller, fleet, 30)
    assert states[-1] is State.ROLLED_BACK
    assert State.CANARY not in states
    assert "of what replies used" in reason(controller)


def test_a_good_selection_passes_when_enough_was_seen(controller, fleet):
    """Nothing is lost: it waits for some 165 conversations that use the context, and goes on."""
    states = follow(controller, fleet, 40)
    assert states[-1] is State.CANARY
    assert 12 <= len(states) <= 24
    assert "of what replies used" in reason(controller)


def test_what_shadow_waits_for_is_said(controller, fleet):
    """Before anything is seen, and with the share and its bounds as soon as something is."""

    def said():
        status = controller.policies.status("sections", fleet.now_ns)
        return what_now(status, controller.observatory.standing(status, controller.policies, fleet.now_ns))

    controller.turn()
    assert said().endswith("shown to keep 98% of what replies use: so far no reply was seen to use any of it")
    follow(controller, fleet, 4)
    assert "so far 100.0% (" in said()


def test_what_was_seen_outlives_a_restart(controller, fleet):
    """A controller that goes on from its checkpoint knows the shares of the units before."""
    follow(controller, fleet, 8)
    report = controller.observatory.standing(
        controller.policies.status("sections", fleet.now_ns), controller.policies, fleet.now_ns
    ).observation.shadow
    assert controller.observatory.save()
    later = Controller(fleet.home, fleet.clock)
    later.turn()
    again = later.observatory.standing(
        later.policies.status("sections", fleet.now_ns), later.policies, fleet.now_ns
    ).observation.shadow
    assert report.retained.units > 50
    assert again == report


def retained(controller, fleet):
    status = controller.policies.status("sections", fleet.now_ns)
    standing = controller.observatory.standing(status, controller.policies, fleet.now_ns)
    readings = policy_readings([status], {"sections": standing}, ())
    return {one.attributes[c.INTERVAL_PART]: one.value for one in readings if one.name == c.METRIC_POLICY_RETAINED}


def test_what_shadow_shows_is_a_metric(controller, fleet):
    """The share and its bounds are told while the policy still waits, and nothing is before anybody used anything."""
    assert retained(controller, fleet) == {}
    follow(controller, fleet, 8)
    values = retained(controller, fleet)
    assert 0 < values[c.INTERVAL_LOW] < values[c.INTERVAL_ESTIMATE] == values[c.INTERVAL_HIGH] == 1
