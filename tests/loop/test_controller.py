"""The controller's turn, on telemetry whose truth is known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from simulated_fleet import SECOND, SimulatedFleet

from otel_perfopt.decide.observation import Extension
from otel_perfopt.decide.state import State
from otel_perfopt.errors import TransitionError
from otel_perfopt.loop import findings_watch
from otel_perfopt.loop.controller import Controller
from otel_perfopt.verify.running_comparison import RunningComparison

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: parallel, author: somebody}
spec:
  match: {command: [/task]}
  optimize: {type: parallel_tools}
  rollout:
    warmup: 0s
    steps: [{shadow: 30s}, {treatment: 50%, baseline: 50%}]
    limits: {minUnits: 100, maxUnits: 2000}
  goal: {metric: latency, improve: 10%}
  guardrails: [{metric: task_failure, maxIncrease: 10pp}]
"""


@pytest.fixture
def fleet(tmp_path):
    return SimulatedFleet(tmp_path)


@pytest.fixture
def controller(fleet):
    policies = fleet.home / "policies"
    policies.mkdir()
    (policies / "parallel.yaml").write_text(POLICY)
    controller = Controller(fleet.home, fleet.clock)
    controller.turn()
    return controller


def state_of(controller, fleet):
    return controller.policies.status("parallel", fleet.now_ns).state.state


def approve(controller, fleet, gate):
    controller.policies.approve("parallel", "a-second-person", "looked at it", fleet.now_ns, gate)


def until(controller, fleet, wanted, turns=60, **truth):
    """Let conversations and turns follow each other until the policy is in a state; returns the turns it took."""
    for turn in range(turns):
        fleet.converse(20, **truth)
        fleet.now_ns += 3 * SECOND
        controller.turn()
        if state_of(controller, fleet) is wanted:
            return turn + 1
    pytest.fail(f"not {wanted} after {turns} turns but {state_of(controller, fleet)}")


def test_what_helps_goes_from_shadow_to_active_with_its_approvals(controller, fleet):
    """Nobody is exposed before the approvals; then shadow, canary and, when better, active with a hold-back."""
    assert state_of(controller, fleet) is State.SHADOW
    fleet.converse(20)
    fleet.now_ns += 60 * SECOND
    controller.turn()
    assert state_of(controller, fleet) is State.SHADOW
    approve(controller, fleet, "canary")
    until(controller, fleet, State.CANARY)
    approve(controller, fleet, "active")
    until(controller, fleet, State.ACTIVE, treated_seconds=0.65)
    (decision,) = fleet.snapshot().decisions
    assert decision.stage == "active"
    assert decision.allocation.baseline == pytest.approx(0.05)


def test_nobody_is_exposed_without_an_approval(controller, fleet):
    """However long one waits, an unapproved policy treats nobody."""
    for _ in range(10):
        fleet.converse(20)
        fleet.now_ns += 60 * SECOND
        controller.turn()
    assert all(decision.allocation.treatment == 0 for decision in fleet.snapshot().decisions)


def test_what_harms_is_taken_back_by_itself(controller, fleet):
    """Failures in treatment end a canary within few units, without anybody's approval."""
    approve(controller, fleet, "canary")
    until(controller, fleet, State.CANARY)
    turns = until(controller, fleet, State.ROLLED_BACK, treated_failures=0.5)
    assert turns <= 6
    assert fleet.snapshot().decisions == ()


def test_what_changes_nothing_is_not_promoted(controller, fleet):
    """A policy without effect stays in canary, although its promotion is approved."""
    approve(controller, fleet, "canary")
    until(controller, fleet, State.CANARY)
    approve(controller, fleet, "active")
    for _ in range(30):
        fleet.converse(20)
        fleet.now_ns += 3 * SECOND
        controller.turn()
    assert state_of(controller, fleet) is State.CANARY


def test_a_false_hit_in_shadow_ends_the_roll_out_before_anybody_is_exposed(controller, fleet):
    """What shadow shows to be wrong never comes to the canary."""
    approve(controller, fleet, "canary")
    until(controller, fleet, State.ROLLED_BACK, shadow_false_hits=1)


def test_a_restarted_controller_goes_on_where_the_ledger_and_the_telemetry_are(controller, fleet):
    """State is in the ledger and evidence in the telemetry: a new process comes to the same verdict."""
    approve(controller, fleet, "canary")
    until(controller, fleet, State.CANARY)
    fleet.converse(60, treated_seconds=0.65)
    fleet.now_ns += 3 * SECOND
    controller.turn()
    fleet.now_ns += 3 * SECOND
    before = controller.turn().standings["parallel"].verdict
    again = Controller(fleet.home, fleet.clock)
    again.turn()
    fleet.now_ns += 3 * SECOND
    after = again.turn().standings["parallel"].verdict
    assert (after.treatment_units, after.baseline_units) == (before.treatment_units, before.baseline_units)
    assert after.metrics == before.metrics


def test_an_edit_voids_the_approval_and_takes_the_canary_back(controller, fleet):
    """Another digest is another policy: it is not exposed by the approval of the one before."""
    approve(controller, fleet, "canary")
    until(controller, fleet, State.CANARY)
    file = fleet.home / "policies" / "parallel.yaml"
    file.write_text(POLICY.replace("improve: 10%", "improve: 20%"))
    controller.turn()
    assert state_of(controller, fleet) is not State.CANARY
    assert all(decision.allocation.treatment == 0 for decision in fleet.snapshot().decisions)


def test_an_author_may_not_approve(controller, fleet):
    """Four eyes: who wrote a policy does not approve it."""
    with pytest.raises(TransitionError, match="may not approve"):
        controller.policies.approve("parallel", "somebody", "mine", fleet.now_ns)


def test_a_broken_policy_file_keeps_the_last_good_one_in_force(controller, fleet):
    """Invalid YAML is told with its place, and changes nothing."""
    approve(controller, fleet, "canary")
    until(controller, fleet, State.CANARY)
    (fleet.home / "policies" / "parallel.yaml").write_text("kind: [")
    turn = controller.turn()
    assert any("parallel.yaml:" in problem for problem in turn.problems)
    assert state_of(controller, fleet) is State.CANARY


def test_harm_after_a_promotion_is_seen_however_good_the_canary_was(controller, fleet):
    """What was shown in canary does not outweigh harm that begins once the policy is active."""
    approve(controller, fleet, "canary")
    until(controller, fleet, State.CANARY)
    fleet.converse(1200, treated_seconds=0.65)
    approve(controller, fleet, "active")
    until(controller, fleet, State.ACTIVE, treated_seconds=0.65)
    for _ in range(15):
        fleet.converse(100, treated_seconds=1.6)
        fleet.now_ns += 3 * SECOND
        controller.turn()
    assert state_of(controller, fleet) is State.ROLLED_BACK
    assert "latency +" in controller.policies.status("parallel", fleet.now_ns).state.reason


def test_an_active_policy_that_goes_on_helping_stays(controller, fleet):
    """The test on the hold-back takes nothing back that still helps, and no limit of units ends it."""
    approve(controller, fleet, "canary")
    until(controller, fleet, State.CANARY)
    approve(controller, fleet, "active")
    until(controller, fleet, State.ACTIVE, treated_seconds=0.65)
    for _ in range(24):
        fleet.converse(100, treated_seconds=0.65)
        fleet.now_ns += 3 * SECOND
        turn = controller.turn()
    assert state_of(controller, fleet) is State.ACTIVE
    verdict = turn.standings["parallel"].verdict
    assert verdict.treatment_units + verdict.baseline_units > 2000
    assert "limit" not in verdict.reason + verdict.would_change


def test_what_shadow_showed_in_an_earlier_trial_does_not_end_a_new_one(controller, fleet):
    """A digest tried again after its shadow was wrong is judged by its new shadow alone."""
    approve(controller, fleet, "canary")
    until(controller, fleet, State.ROLLED_BACK, shadow_false_hits=1)
    fleet.now_ns += 8 * 86_400 * SECOND
    controller.policies.retry("parallel", "somebody", "the tool is fixed", fleet.now_ns)
    controller.turn()
    fleet.now_ns += 3 * SECOND
    again = Controller(fleet.home, fleet.clock)
    for one in (controller, again, controller, again):
        one.turn()
        assert state_of(one, fleet) is State.SHADOW
    approve(again, fleet, "canary")
    until(again, fleet, State.CANARY)


def test_units_are_compared_again_only_when_they_changed(controller, fleet, monkeypatch):
    """A turn in which nothing new was read makes no comparison anew and says the same; a new unit does."""
    approve(controller, fleet, "canary")
    until(controller, fleet, State.CANARY)
    fleet.converse(60, treated_seconds=0.65)
    fleet.now_ns += 3 * SECOND
    controller.turn()
    fleet.now_ns += 3 * SECOND
    before = controller.turn().standings["parallel"].verdict
    made = []

    follow = RunningComparison.follow

    def counted(*arguments):
        made.append(arguments)
        return follow(*arguments)

    monkeypatch.setattr(RunningComparison, "follow", counted)
    fleet.now_ns += 3 * SECOND
    assert controller.turn().standings["parallel"].verdict == before
    assert not made
    fleet.converse(20, treated_seconds=0.65)
    for _ in range(2):
        fleet.now_ns += 3 * SECOND
        after = controller.turn().standings["parallel"].verdict
    assert made
    assert after.treatment_units + after.baseline_units == before.treatment_units + before.baseline_units + 20


def test_an_analysis_that_fails_stops_no_comparison(fleet, monkeypatch):
    """Whatever goes wrong while findings are looked for is said, and the turn goes on."""

    def broken(*_, **__):
        raise ZeroDivisionError("an odd recording")

    monkeypatch.setattr(findings_watch, "analyse", broken)
    (fleet.home / "policies").mkdir()
    conditional = POLICY.replace("spec:", "spec:\n  when: {finding: trend}", 1)
    (fleet.home / "policies" / "parallel.yaml").write_text(conditional)
    with ThreadPoolExecutor(1) as executor:
        controller = Controller(fleet.home, fleet.clock, executor=executor)
        first = controller.turn()
    turn = controller.turn()
    assert any("an odd recording" in problem for problem in first.problems + turn.problems)
    assert turn.snapshot is not None


def test_an_inconclusive_comparison_is_extended_and_goes_on_with_its_units(controller, fleet):
    """At the limit it ends; a person's extension and a new approval go on from the units there were."""
    approve(controller, fleet, "canary")
    until(controller, fleet, State.CANARY)
    for _ in range(25):
        fleet.converse(100)
        fleet.now_ns += 3 * SECOND
        controller.turn()
        if state_of(controller, fleet) is State.INCONCLUSIVE:
            break
    assert state_of(controller, fleet) is State.INCONCLUSIVE
    assert fleet.snapshot().decisions == ()
    ended = controller.policies.ledger.entries[-1]
    assert ended.details["units"] >= 2000
    assert "latency" in ended.details["outcome"]["effects"]
    more = Extension(units=3000, duration_s=86_400.0)
    controller.policies.extend("parallel", "ann", "the cache was cold for a day", fleet.now_ns, more)
    controller.turn()
    assert fleet.snapshot().decisions == ()
    approve(controller, fleet, "canary")
    controller.turn()
    assert state_of(controller, fleet) is State.CANARY
    fleet.converse(40)
    fleet.now_ns += 60 * SECOND
    turn = controller.turn()
    assert turn.standings["parallel"].observation.total_units >= 2000
    assert state_of(controller, fleet) is State.CANARY


def test_a_promoted_policy_whose_benefit_is_gone_is_retired(controller, fleet):
    """Once the hold-back shows no benefit any more, the policy ends, with the reason on the ledger."""
    approve(controller, fleet, "canary")
    until(controller, fleet, State.CANARY)
    approve(controller, fleet, "active")
    until(controller, fleet, State.ACTIVE, treated_seconds=0.65)
    for _ in range(60):
        fleet.converse(200)
        fleet.now_ns += 3 * SECOND
        controller.turn()
        if state_of(controller, fleet) is not State.ACTIVE:
            break
    assert state_of(controller, fleet) is State.RETIRED
    assert "improves by less than 10 %" in controller.policies.status("parallel", fleet.now_ns).state.reason
