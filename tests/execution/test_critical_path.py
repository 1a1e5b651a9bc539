"""Critical path and self time, against an oracle that looks at every moment by itself."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from written_runs import inference, read, run, step

from otel_perfopt.execution.critical_path import critical_path, self_times, union_ns
from otel_perfopt.execution.model import StepKind
from otel_perfopt.execution.step_tree import step_tree


def path(execution):
    return [(s.step.span_id, s.start_ns, s.end_ns) for s in critical_path(execution)]


def test_serial_steps_and_gaps():
    """One after the other: each step in turn, and the command itself in between."""
    assert path(run(0, 100, inference("m", 10, 40), read("t", 45, 60))) == [
        ("c", 0, 10), ("m", 10, 40), ("c", 40, 45), ("t", 45, 60), ("c", 60, 100),
    ]  # fmt: skip


def test_of_parallel_steps_only_the_last_to_finish_counts():
    """What ran beside the last-finishing step was not waited on."""
    fan = run(0, 50, read("a", 5, 20), read("b", 5, 40), read("d", 6, 39))
    assert path(fan) == [("c", 0, 5), ("b", 5, 40), ("c", 40, 50)]


def test_nested_steps_are_entered():
    """Inside a step on the path, its own children are what was waited on."""
    nested = run(0, 30, step("a", 0, 30, kind=StepKind.OTHER), read("t", 10, 20, parent="a"))
    assert path(nested) == [("a", 0, 10), ("t", 10, 20), ("a", 20, 30)]


def test_call_started_while_its_reply_streams_waited_for_the_reply():
    """A reply still streaming when the call it asked for began stays on the path up to that moment."""
    assert path(run(0, 30, inference("m", 0, 22), read("t", 20, 30, requested_by="m"))) == [
        ("m", 0, 20), ("t", 20, 30),
    ]  # fmt: skip
    assert path(run(0, 30, inference("m", 0, 22), read("t", 20, 30))) == [("c", 0, 20), ("t", 20, 30)]


def test_steps_outside_the_command_are_cut():
    """Clock skew and detached work change nothing about the command's own time."""
    skewed = run(100, 200, read("early", 50, 120), read("late", 190, 260), read("far", 300, 400))
    assert path(skewed) == [("early", 100, 120), ("c", 120, 190), ("late", 190, 200)]
    assert self_times(skewed) == {"c": 70, "early": 20, "late": 10, "far": 0}


def test_cycles_and_doubled_ids_written_by_hand_are_survived():
    """Runs built elsewhere may be broken; the tree holds each id once."""
    broken = run(0, 9, read("a", 1, 4, parent="b"), read("b", 2, 3, parent="a"), read("c", 0, 9), read("a", 5, 6))
    tree = step_tree(broken)
    assert sorted(node.step.span_id for node in tree.root.descendants()) == ["a", "b", "c"]
    assert sum(end - start for _, start, end in path(broken)) == 9


@st.composite
def runs(draw, horizon=16):
    """A small run: up to seven steps anywhere, nested at random."""
    steps = []
    for index in range(draw(st.integers(0, 7))):
        parent = draw(st.sampled_from(["c", *(s.span_id for s in steps)]))
        start = draw(st.integers(-2, horizon))
        end = start + draw(st.integers(0, horizon))
        steps.append(step(f"s{index}", start, end, parent=parent))
    return run(0, horizon, *steps)


def owner_at(node, moment, start, end):
    """Say who the end of [start, end) waited on in the nanosecond after `moment`, from the definition alone."""
    waited = end
    while True:
        candidates = [c for c in node.children if c.end_ns <= waited and max(c.start_ns, start) < c.end_ns]
        if not candidates:
            return node.step.span_id
        last = max(candidates, key=lambda c: (c.end_ns, -c.start_ns, c.step.span_id))
        begin = max(last.start_ns, start)
        if moment >= last.end_ns:
            return node.step.span_id
        if moment >= begin:
            return owner_at(last, moment, begin, last.end_ns)
        waited = begin


@given(runs())
@settings(max_examples=200, deadline=None)
def test_path_is_what_each_moment_waited_on(execution):
    """Segments are contiguous, cover the command exactly, and agree with the oracle at every moment."""
    segments = critical_path(execution)
    root = step_tree(execution).root
    assert segments[0].start_ns == root.start_ns
    assert segments[-1].end_ns == root.end_ns
    assert all(a.end_ns == b.start_ns for a, b in pairwise(segments))
    seen = [s.step.span_id for s in segments for _ in range(s.length_ns)]
    assert seen == [owner_at(root, moment, root.start_ns, root.end_ns) for moment in range(root.end_ns)]


@given(runs())
@settings(max_examples=300, deadline=None)
def test_self_time_is_the_moments_without_a_running_child(execution):
    """Counting moments one by one gives the same self times."""
    expected = {
        node.step.span_id: sum(
            not any(c.start_ns <= moment < c.end_ns for c in node.children)
            for moment in range(node.start_ns, node.end_ns)
        )
        for node in step_tree(execution).root.descendants()
    }
    assert self_times(execution) == expected


@given(runs())
def test_self_times_cover_the_command(execution):
    """At every moment some innermost step runs, so self times together are at least the command's time."""
    assert sum(self_times(execution).values()) >= execution.command.end_ns - execution.command.start_ns


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=6))
def test_serial_runs_have_path_equal_to_self_time(lengths):
    """Without overlap a step's time on the path is its self time."""
    clock, steps = 0, []
    for index, (gap, length) in enumerate(lengths):
        steps.append(read(f"s{index}", clock + gap, clock + gap + length))
        clock += gap + length
    serial = run(0, clock + 1, *steps)
    on_path = Counter()
    for segment in critical_path(serial):
        on_path[segment.step.span_id] += segment.length_ns
    assert {k: v for k, v in self_times(serial).items() if v} == dict(on_path)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=8))
def test_union_counts_each_moment_once(pairs):
    """The union's length is the number of moments that any interval covers; inverted ones cover none."""
    covered = {moment for start, end in pairs for moment in range(start, end)}
    assert union_ns(pairs) == len(covered)
