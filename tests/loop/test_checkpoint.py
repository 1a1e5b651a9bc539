"""A controller that starts again goes on where it stood, and whatever is wrong with its notes it reads anew."""

from __future__ import annotations

import pickle
from hashlib import sha256

import pytest
from simulated_fleet import SECOND, SimulatedFleet

from otel_perfopt.decide.state import State
from otel_perfopt.loop.checkpoint import CHECKPOINT_FILE, Checkpoint
from otel_perfopt.loop.controller import Controller

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: parallel, author: somebody}
spec:
  match: {command: [/task]}
  optimize: {type: parallel_tools}
  rollout: {warmup: 0s, steps: [{treatment: 50%, baseline: 50%}], limits: {minUnits: 2000, maxUnits: 9000}}
  goal: {metric: latency, improve: 10%}
"""


@pytest.fixture
def fleet(tmp_path):
    """Return a fleet in canary with 60 conversations read and the checkpoint written after them."""
    fleet = SimulatedFleet(tmp_path)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "parallel.yaml").write_text(POLICY)
    controller = Controller(tmp_path, fleet.clock)
    controller.policies.approve("parallel", "ann", "", fleet.now_ns)
    controller.turn()
    assert controller.policies.status("parallel", fleet.now_ns).state.state is State.CANARY
    fleet.converse(60, treated_seconds=0.7)
    fleet.now_ns += 31 * SECOND
    controller.turn()
    assert (tmp_path / CHECKPOINT_FILE).exists()
    return fleet


def units_of(fleet, **_):
    controller = Controller(fleet.home, fleet.clock)
    fleet.now_ns += 20 * SECOND
    standing = controller.turn().standings["parallel"]
    return controller, standing


def test_a_restarted_controller_reads_only_what_is_new_and_says_the_same(fleet):
    """Units from before the restart and after it are one comparison, as if all had been read again."""
    fleet.converse(40, treated_seconds=0.7)
    resumed, standing = units_of(fleet)
    assert resumed.observatory.tally.bytes == fleet.file.stat().st_size
    assert len(standing.units) == 100
    (fleet.home / CHECKPOINT_FILE).unlink()
    anew, whole = units_of(fleet)
    assert anew.observatory.tally.spans == resumed.observatory.tally.spans
    assert {unit.unit_id: unit.values for unit in standing.units} == {unit.unit_id: unit.values for unit in whole.units}
    assert [metric.effect for metric in standing.verdict.metrics] == [metric.effect for metric in whole.verdict.metrics]


def test_what_was_read_is_not_read_again(fleet, monkeypatch):
    """The first turn after a restart parses no line from before the checkpoint."""
    lines = []
    from otel_perfopt.signal.read import otlp_tail  # noqa: PLC0415 - the module that is watched

    real = otlp_tail.objects_of

    def counted(line, *rest, **more):
        lines.append(line)
        return real(line, *rest, **more)

    monkeypatch.setattr(otlp_tail, "objects_of", counted)
    fleet.converse(5)
    units_of(fleet)
    assert len(lines) == 5


def test_rotated_telemetry_keeps_its_units(fleet):
    """A file that was rotated away after it was read leaves its units in the comparison."""
    fleet.file.unlink()
    fleet.file = fleet.home / "telemetry" / "agent-2.jsonl"
    fleet.converse(10)
    _, standing = units_of(fleet)
    assert len(standing.units) == 70


def with_digest(content: bytes) -> bytes:
    return b"perfopt.checkpoint 1\n" + sha256(content).digest() + content


class Evil:
    def __reduce__(self):
        return print, ("made something",)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"nonsense",
        b"perfopt.checkpoint 1\n",
        with_digest(b""),
        with_digest(pickle.dumps(None)),
        with_digest(pickle.dumps((["9.9.9", []], {}, {}))),
        with_digest(pickle.dumps(Evil())),
    ],
    ids=["empty", "nonsense", "cut", "no content", "another shape", "another version", "evil"],
)
def test_a_checkpoint_that_is_wrong_is_not_believed(fleet, broken, capsys):
    """Everything is read anew, no code of the file's runs, and the verdict is the same."""
    (fleet.home / CHECKPOINT_FILE).write_bytes(broken)
    _, standing = units_of(fleet)
    assert len(standing.units) == 60
    assert "made something" not in capsys.readouterr().out


def test_a_checkpoint_whose_every_byte_may_be_wrong(fleet):
    """A flipped byte anywhere is noticed."""
    whole = (fleet.home / CHECKPOINT_FILE).read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 40)):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        (fleet.home / CHECKPOINT_FILE).write_bytes(bytes(broken))
        assert Checkpoint(fleet.home).load() is None


@pytest.mark.parametrize("change", ["shorter", "replaced"])
def test_telemetry_that_is_not_what_it_was_is_read_anew(fleet, change):
    """A file that shrank, or another one under its name, voids the checkpoint: nothing counts twice."""
    if change == "shorter":
        lines = fleet.file.read_bytes().splitlines(keepends=True)
        fleet.file.write_bytes(b"".join(lines[:30]))
    else:
        content = fleet.file.read_bytes()
        (fleet.home / "telemetry" / "next").write_bytes(content)
        (fleet.home / "telemetry" / "next").replace(fleet.file)
    _, standing = units_of(fleet)
    assert len(standing.units) == (30 if change == "shorter" else 60)


def test_a_checkpoint_that_cannot_be_written_stops_nothing(fleet):
    """The turn goes on; the next controller reads more."""
    (fleet.home / CHECKPOINT_FILE).unlink()
    (fleet.home / CHECKPOINT_FILE).mkdir()
    controller, standing = units_of(fleet)
    fleet.now_ns += 40 * SECOND
    turn = controller.turn()
    assert turn.snapshot is not None
    assert len(standing.units) == 60
