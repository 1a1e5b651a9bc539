"""Clocks that disagree neither hide harm nor stretch a lease."""

from __future__ import annotations

from simulated_fleet import SECOND, SimulatedFleet

from otel_perfopt.act.clock import Clock
from otel_perfopt.act.snapshot_source import FileSource
from otel_perfopt.decide.decision import Snapshot
from otel_perfopt.decide.state import State
from otel_perfopt.loop.controller import Controller

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: parallel, author: somebody}
spec:
  match: {command: [/task]}
  optimize: {type: parallel_tools}
  rollout:
    warmup: 0s
    steps: [{treatment: 50%, baseline: 50%}]
  goal: {metric: latency}
  guardrails: [{metric: task_failure, maxIncrease: 10pp}]
"""


class Skewed(SimulatedFleet):
    """Agents whose clock is an hour behind the controller's."""

    def __init__(self, home) -> None:
        super().__init__(home)
        self.behind_ns = 3600 * SECOND

    def converse(self, conversations, **truth):
        self.now_ns -= self.behind_ns
        super().converse(conversations, **truth)
        self.now_ns += self.behind_ns


def canary(fleet) -> Controller:
    policies = fleet.home / "policies"
    policies.mkdir()
    (policies / "parallel.yaml").write_text(POLICY)
    controller = Controller(fleet.home, fleet.clock)
    controller.turn()
    controller.policies.approve("parallel", "a-second-person", "", fleet.now_ns, "canary")
    controller.turn()
    return controller


def test_harm_shows_although_agents_clocks_are_behind(tmp_path):
    """Runs that seem to begin an hour before their exposure count: their digest says which trial they are of."""
    fleet = Skewed(tmp_path)
    controller = canary(fleet)
    for _ in range(6):
        fleet.converse(20, treated_failures=0.5)
        fleet.now_ns += 3 * SECOND
        controller.turn()
    assert controller.policies.status("parallel", fleet.now_ns).state.state is State.ROLLED_BACK


def test_an_earlier_trial_of_the_same_digest_does_not_count(tmp_path):
    """Tried again after its cool-down, a policy is judged by what happens from then on."""
    fleet = SimulatedFleet(tmp_path)
    controller = canary(fleet)
    for _ in range(6):
        fleet.converse(20, treated_failures=0.5)
        fleet.now_ns += 3 * SECOND
        controller.turn()
    fleet.now_ns += 8 * 86_400 * SECOND
    controller.policies.retry("parallel", "somebody", "the tool is fixed", fleet.now_ns)
    controller.turn()
    controller.policies.approve("parallel", "a-second-person", "", fleet.now_ns, "canary")
    for _ in range(4):
        fleet.now_ns += 3 * SECOND
        turn = controller.turn()
    assert controller.policies.status("parallel", fleet.now_ns).state.state is State.CANARY
    verdict = turn.standings["parallel"].verdict
    assert (verdict.treatment_units, verdict.baseline_units) == (0, 0)


def test_a_controller_that_is_ahead_does_not_stretch_the_lease(tmp_path):
    """Read now, a snapshot from an hour ahead lasts its lease from now; one from behind, what is left of it."""
    now_ns = 1_790_000_000 * SECOND
    for made_ns, expires_ns in (
        (now_ns + 3600 * SECOND, now_ns + 60 * SECOND),
        (now_ns - SECOND, now_ns + 59 * SECOND),
    ):
        (tmp_path / "snapshot.json").write_text(Snapshot(1, made_ns, 60.0).to_json())
        source = FileSource(tmp_path, {}, clock=Clock(lambda: now_ns))
        source.look()
        assert source.current().expires_ns == expires_ns
        source.close()
