"""Tuning through the controller: values by unit, the best kept by evidence, never outside what was approved."""

from __future__ import annotations

import pytest
from adaptive_fleet import AdaptiveFleet

from otel_perfopt import conventions as c
from otel_perfopt.decide.adaptation import TUNE_EVENT
from otel_perfopt.decide.state import State
from otel_perfopt.loop.controller import Controller

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: tuned, author: somebody}
spec:
  match: {command: [/task]}
  optimize: {type: parallel_tools, with: {maxConcurrency: 4}}
  tune: {parameter: maxConcurrency, values: [2, 4, 8], minUnits: 50, maxUnits: 2000}
  rollout:
    warmup: 0s
    steps: [{treatment: 50%, baseline: 50%}]
    limits: {minUnits: 100, maxUnits: 8000}
  goal: {metric: latency, improve: 0%}
  guardrails: [{metric: task_failure, maxIncrease: 20pp}]
"""


class TunedFleet(AdaptiveFleet):
    """Agents whose treated calls take as long as `truth` says for the value that their unit has."""

    def __init__(self, home):
        super().__init__(home)
        self.truth = {2: 1.0, 4: 0.8, 8: 0.5}

    def stamped(self, policy, decision, arm, conversation):
        told = super().stamped(policy, decision, arm, conversation)
        value = self.value(decision, conversation)
        return told | ({c.policy_attribute(policy, c.POLICY_VALUE): value} if arm == "treatment" else {})

    def value(self, decision, conversation):
        return decision.tuned.values[decision.tuned.index(decision.salt, conversation)]

    def seconds(self, treated, conversation):
        (decision,) = self.snapshot().decisions
        return self.truth[self.value(decision, conversation)] if treated else 1.0


def started(fleet, policy=POLICY):
    (fleet.home / "policies").mkdir()
    (fleet.home / "policies" / "tuned.yaml").write_text(policy)
    controller = Controller(fleet.home, fleet.clock)
    controller.turn()
    controller.policies.approve("tuned", "a-second-person", "all three may be tried", fleet.now_ns, "canary")
    controller.turn()
    return controller


def lives(controller, fleet, turns):
    for _ in range(turns):
        fleet.live(60, fleet.seconds)
        controller.turn()
        (decision,) = fleet.snapshot().decisions
        assert set(decision.tuned.values) == {2, 4, 8}


def test_the_best_value_is_kept_and_the_ledger_says_why(tmp_path):
    """Two of three approved values go, each with its numbers; the snapshot then has the best for every unit."""
    fleet = TunedFleet(tmp_path)
    controller = started(fleet)
    lives(controller, fleet, 30)
    (decision,) = fleet.snapshot().decisions
    assert [decision.tuned.values[index] for index in decision.tuned.left] == [8]
    told = [entry for entry in controller.policies.ledger.entries if entry.event == TUNE_EVENT]
    assert [len(entry.details["left"]) for entry in told] == [2, 1]
    assert all("is shown worse than 8: latency +" in entry.reason for entry in told)
    assert all(entry.details["low"] > 0 for entry in told)
    again = Controller(fleet.home, fleet.clock)
    again.turn()
    assert fleet.snapshot().decisions[0].tuned.left == decision.tuned.left


def test_the_whole_policy_is_judged_as_before_while_it_is_tuned(tmp_path):
    """Its treated units, whatever their value, are shown better than baseline; a value that harms all rolls back."""
    fleet = TunedFleet(tmp_path)
    controller = started(fleet)
    controller.policies.approve("tuned", "a-second-person", "it may stay", fleet.now_ns, "active")
    lives(controller, fleet, 20)
    assert controller.policies.status("tuned", fleet.now_ns).state.state is State.ACTIVE
    worse = TunedFleet(tmp_path / "other")
    worse.truth = {2: 1.6, 4: 1.5, 8: 1.7}
    controller = started(worse)
    with pytest.raises(ValueError, match="unpack"):
        lives(controller, worse, 30)
    assert controller.policies.status("tuned", worse.now_ns).state.state is State.ROLLED_BACK


def test_what_is_asked_to_be_tried_again_is(tmp_path):
    """With `again`, all values come back after that time, and a new truth is found."""
    fleet = TunedFleet(tmp_path)
    controller = started(fleet, POLICY.replace("maxUnits: 2000}", "maxUnits: 2000, again: 2h}"))
    lives(controller, fleet, 30)
    assert len(fleet.snapshot().decisions[0].tuned.left) == 1
    fleet.now_ns += 3 * 3600 * 10**9
    fleet.truth = {2: 0.4, 4: 0.8, 8: 0.8}
    lives(controller, fleet, 35)
    (decision,) = fleet.snapshot().decisions
    assert [decision.tuned.values[index] for index in decision.tuned.left] == [2]
