"""A controller with much to read: agents hear from it first, and what it has not read yet decides nothing but harm."""

from __future__ import annotations

import pytest
from simulated_fleet import SECOND, SimulatedFleet

from otel_perfopt.decide.kill_switch import switch_off
from otel_perfopt.decide.state import State
from otel_perfopt.loop.checkpoint import CHECKPOINT_FILE
from otel_perfopt.loop.controller import READ_SHARE, Controller
from otel_perfopt.signal.read import otlp_tail
from otel_perfopt.signal.read.otlp_tail import OtlpTail

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: parallel, author: somebody}
spec:
  match: {command: [/task]}
  optimize: {type: parallel_tools}
  rollout: {warmup: 0s, steps: [{treatment: 50%, baseline: 50%}], limits: {minUnits: 200, maxUnits: 300}}
  goal: {metric: latency, improve: 5%}
  guardrails: [{metric: task_failure, maxIncrease: 10pp}]
"""


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """Return a fleet in canary whose telemetry comes in small pieces."""
    monkeypatch.setattr(otlp_tail, "_CHUNK_BYTES", 20_000)
    fleet = SimulatedFleet(tmp_path)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "parallel.yaml").write_text(POLICY)
    controller = Controller(tmp_path, fleet.clock)
    controller.policies.approve("parallel", "ann", "", fleet.now_ns)
    controller.turn()
    controller.policies.approve("parallel", "ann", "", fleet.now_ns, gate="active")
    return fleet


def slow_reader(fleet, lease_s=60.0):
    """Return a controller to whom every look at the clock is a quarter of what it may read for."""
    controller = Controller(fleet.home, fleet.clock, lease_s=lease_s)
    fleet.now_ns += 60 * SECOND

    def clock():
        fleet.now_ns += int(lease_s * READ_SHARE / 4 * SECOND)
        return fleet.now_ns

    controller._clock = clock
    return controller


def test_what_was_switched_off_is_published_before_anything_is_read(fleet):
    """A controller that starts tells agents of a kill, and of the lease, while its telemetry is still unread."""
    fleet.converse(20)
    fleet.now_ns += 600 * SECOND
    switch_off(fleet.home, None)
    controller, seen = Controller(fleet.home, fleet.clock), []
    controller.observatory.run_listeners.append(lambda _run: seen.append(fleet.snapshot()))
    controller.turn()
    assert len(seen) == 20
    assert seen[0].killed
    assert seen[0].generated_at_ns == fleet.now_ns


def test_the_lease_is_renewed_while_a_backlog_is_read(fleet):
    """Turn by turn the snapshot is new, nothing is concluded, and in the end everything was read once."""
    fleet.converse(400, treated_seconds=0.5)
    controller, runs, ages = slow_reader(fleet), 0, []
    while True:
        before_ns = fleet.snapshot().generated_at_ns
        turn = controller.turn()
        ages.append(turn.snapshot.generated_at_ns - before_ns)
        runs += turn.runs
        if not turn.behind:
            break
        assert turn.transitions == ()
    assert len(ages) > 5
    assert max(ages[1:]) < 60 * SECOND
    assert runs == 400
    assert len(turn.standings["parallel"].units) == 400
    assert [step.to_state for step in turn.transitions] == [State.ACTIVE]


def test_a_limit_that_only_a_part_shows_ends_nothing(fleet):
    """Units beyond the limit, half of the telemetry unread: inconclusive comes when all is read, not before."""
    fleet.converse(600)
    controller, states = slow_reader(fleet), []
    while True:
        turn = controller.turn()
        states.append((turn.behind, controller.policies.status("parallel", fleet.now_ns).state.state))
        if not turn.behind:
            break
    assert {state for behind, state in states if behind} == {State.CANARY}
    assert states[-1] == (False, State.INCONCLUSIVE)


def test_harm_in_the_part_that_was_read_takes_back_at_once(fleet):
    """Half of the treated fail: taken back while most of the telemetry is still unread."""
    fleet.converse(400, treated_failures=0.6)
    controller = slow_reader(fleet)
    for _ in range(8):
        turn = controller.turn()
        if turn.transitions:
            break
    assert turn.behind
    assert [step.to_state for step in turn.transitions] == [State.ROLLED_BACK]
    assert fleet.snapshot().decisions == ()


def test_a_controller_that_dies_in_its_backlog_goes_on_in_it(fleet):
    """What was read is in the checkpoint, what was not is read by the next one, and no unit counts twice."""
    fleet.converse(400)
    controller = slow_reader(fleet)
    while not (fleet.home / CHECKPOINT_FILE).exists():
        assert controller.turn().behind
    again = Controller(fleet.home, fleet.clock)
    turn = again.turn()
    assert 0 < turn.runs < 400
    assert len(turn.standings["parallel"].units) == 400


def test_a_file_that_grows_fast_starves_no_other(tmp_path, monkeypatch):
    """With time for one piece a look, the second file's first piece is read in the second look."""
    monkeypatch.setattr(otlp_tail, "_CHUNK_BYTES", 5_000)
    fleet = SimulatedFleet(tmp_path)
    (tmp_path / "snapshot.json").write_text(
        '{"version":1,"generation":0,"generated_at_ns":0,"lease_s":1,"killed":false,"decisions":[]}'
    )
    fleet.converse(100)
    first = {f"{number:032x}" for number in range(1, 101)}
    fleet.file = tmp_path / "telemetry" / "agent-2.jsonl"
    fleet.converse(1)
    tail = OtlpTail(tmp_path / "telemetry", grace_s=0)
    looks = [[trace[0].trace_id for trace in tail.read(fleet.now_ns, lambda: True)] for _ in range(2)]
    assert tail.behind
    assert set(looks[0]) <= first
    assert looks[1] == [f"{101:032x}"]
    rest = [trace[0].trace_id for trace in tail.read(fleet.now_ns)]
    assert not tail.behind
    assert sorted(looks[0] + looks[1] + rest) == sorted(first | {f"{101:032x}"})
