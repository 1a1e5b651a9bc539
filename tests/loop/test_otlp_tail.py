"""Following telemetry files while they are written."""

from __future__ import annotations

from simulated_fleet import SECOND, SimulatedFleet

from otel_perfopt.decide.decision import Snapshot
from otel_perfopt.signal.read.otlp_tail import OtlpTail


def fleet_at(home):
    fleet = SimulatedFleet(home)
    (home / "snapshot.json").write_text(Snapshot().to_json())
    return fleet


def test_every_trace_is_read_once_however_the_file_grows(tmp_path):
    """A line that is only half written is left for the next look; nothing is read twice or lost."""
    fleet = fleet_at(tmp_path)
    fleet.converse(50)
    whole = fleet.file.read_bytes()
    fleet.file.write_bytes(b"")
    tail = OtlpTail(fleet.file.parent, grace_s=0)
    traces = []
    for end in range(0, len(whole) + 97, 97):
        with fleet.file.open("wb") as file:
            file.write(whole[:end])
        traces += tail.read(fleet.now_ns)
    assert len({trace[0].trace_id for trace in traces}) == 50
    assert len(traces) == 50
    assert tail.tally.spans == 50
    assert not tail.tally.problem_counts


def test_a_trace_is_handed_on_only_after_its_grace(tmp_path):
    """Spans of calls that nobody waited for may end after their command."""
    fleet = fleet_at(tmp_path)
    fleet.converse(1)
    tail = OtlpTail(fleet.file.parent, grace_s=1)
    assert list(tail.read(fleet.now_ns)) == []
    assert len(list(tail.read(fleet.now_ns + SECOND))) == 1
    assert list(tail.read(fleet.now_ns + 2 * SECOND)) == []


def test_files_that_come_and_go_are_no_problem(tmp_path):
    """Rotation removes the oldest files and a new process starts its own."""
    fleet = fleet_at(tmp_path)
    tail = OtlpTail(fleet.file.parent, grace_s=0)
    fleet.converse(3)
    assert len(list(tail.read(fleet.now_ns))) == 3
    fleet.file.unlink()
    fleet.file = fleet.file.with_name("agent-2.jsonl")
    fleet.converse(2)
    assert len(list(tail.read(fleet.now_ns))) == 2
    assert not tail.tally.problem_counts


def test_a_broken_line_is_counted_and_loses_nothing_else(tmp_path):
    """A line cut by a full disk or a crash is reported with its place."""
    fleet = fleet_at(tmp_path)
    fleet.converse(1)
    with fleet.file.open("a") as file:
        file.write('{"resourceSpans": [{"scopeSp\n')
    fleet.converse(1)
    tail = OtlpTail(fleet.file.parent, grace_s=0)
    assert len(list(tail.read(fleet.now_ns))) == 2
    assert sum(tail.tally.problem_counts.values()) == 1
    assert "agent-1.jsonl:2" in str(tail.tally.problems[0])


def test_a_trace_that_ended_long_ago_is_complete_at_the_first_look(tmp_path):
    """Somebody who only looks once, as `perfopt status` does, sees what happened."""
    fleet = fleet_at(tmp_path)
    fleet.converse(5)
    tail = OtlpTail(fleet.file.parent)
    assert len(list(tail.read(fleet.now_ns + 60 * SECOND))) == 5


def test_a_file_that_was_replaced_by_a_shorter_one_is_read_from_its_beginning(tmp_path):
    """What looks like the same file and is not is told, and lost to nobody."""
    fleet = fleet_at(tmp_path)
    fleet.converse(5)
    tail = OtlpTail(fleet.file.parent, grace_s=0)
    assert len(list(tail.read(fleet.now_ns))) == 5
    fleet.file.write_text("")
    fleet.converse(2)
    assert len(list(tail.read(fleet.now_ns))) == 2
    assert tail.tally.problem_counts == {"replaced_file": 1}
