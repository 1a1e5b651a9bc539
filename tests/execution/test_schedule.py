"""What-if replays: exact without changes, never longer with helpful ones, and right on runs worked out by hand."""

from __future__ import annotations

import time
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from written_runs import inference, read, run, step, write

from otel_perfopt.execution.model import StepKind, ToolEffects
from otel_perfopt.execution.schedule import Changes, replay
from otel_perfopt.execution.step_tree import step_tree


def loop(*calls, reply_end=10):
    """An agent's loop: one reply asks for calls, which are made one after another with 1 ns of own code between."""
    clock, steps = reply_end, [inference("m", 0, reply_end)]
    for make, span_id, length in calls:
        steps.append(make(span_id, clock + 1, clock + 1 + length, requested_by="m", call_id=span_id))
        clock += 1 + length
    return run(0, clock + 5, *steps)


def test_reads_of_one_reply_overlap_and_own_code_stays_serial():
    """Three reads of 20, 30 and 10 ns take 30 ns together, plus the agent's own code after each."""
    recorded = loop((read, "a", 20), (read, "b", 30), (read, "d", 10))
    played = replay(recorded, Changes(parallel_replies=frozenset("m")))
    assert replay(recorded).duration_ns == 10 + 3 + 60 + 5
    assert played.intervals["b"] == (11, 41)
    assert played.duration_ns == 41 + 1 + 5  # b is the last to end; one gap before d, which is done by then
    assert played.saved_ns == 31


def test_writes_of_a_reply_keep_their_place_and_hold_reads_back():
    """A write starts when asked for, and a later read of anything starts after it."""
    recorded = loop((read, "a", 20), (write, "w", 30), (read, "b", 10), (read, "d", 10))
    played = replay(recorded, Changes(parallel_replies=frozenset("m")))
    assert played.intervals["w"] == (32, 62)
    assert played.intervals["b"] == (*played.intervals["d"][:1], 72)
    assert played.intervals["b"][0] == 62
    assert played.saved_ns == 2 + 9


def test_calls_asked_for_while_the_reply_streams_start_no_earlier_than_they_did():
    """Two reads begin at 4 and 8 ns of a reply of 20: neither was known before; those after it go side by side."""
    streamed = run(
        0, 100, inference("m", 0, 20), read("a", 4, 7, requested_by="m"), read("b", 8, 60, requested_by="m"),
    )  # fmt: skip
    assert replay(streamed, Changes(parallel_replies=frozenset("m"))).saved_ns == 0
    later = run(
        0, 100, inference("m", 0, 20), read("a", 4, 7, requested_by="m"),
        read("b", 21, 51, requested_by="m"), read("d", 52, 90, requested_by="m"),
    )  # fmt: skip
    played = replay(later, Changes(parallel_replies=frozenset("m")))
    assert (played.intervals["a"], played.intervals["b"], played.intervals["d"]) == ((4, 7), (21, 51), (21, 59))


def test_unknown_effects_are_never_moved():
    """Only declared reads may start early."""
    recorded = loop((step, "a", 20), (step, "b", 30))
    assert replay(recorded, Changes(parallel_replies=frozenset("m"))).saved_ns == 0


def test_a_cache_hit_saves_its_time_where_it_was_waited_for():
    """A call beside a longer one saves nothing; a call on the critical path saves all of it."""
    beside = run(0, 60, read("a", 10, 30), read("b", 10, 50))
    assert replay(beside, Changes({"a": 0})).saved_ns == 0
    assert replay(beside, Changes({"b": 0})).saved_ns == 20
    assert replay(beside, Changes({"a": 0, "b": 0})).saved_ns == 40
    assert replay(beside, Changes({"b": 5})).intervals["b"] == (10, 15)


def test_a_longer_call_makes_the_run_longer():
    """What-if goes both ways: an optimization may cost."""
    assert replay(run(0, 60, read("a", 10, 30)), Changes({"a": 50})).saved_ns == -30


def test_a_preload_runs_while_the_model_thinks():
    """A call that may start after an earlier one overlaps the inference in between and is joined when asked for."""
    recorded = run(
        0, 100, read("a", 0, 10), inference("m", 12, 50), read("b", 52, 90),
    )  # fmt: skip
    assert replay(recorded, Changes(starts_after={"b": "a"})).intervals["b"] == (10, 48)
    assert replay(recorded, Changes(starts_after={"b": "a"})).duration_ns == 52 + 10
    assert replay(recorded, Changes(starts_after={"b": "c"})).intervals["b"] == (0, 38)


def test_a_preload_waits_for_what_it_needs():
    """A moved call never starts before the call whose result it uses has ended."""
    recorded = run(
        0, 100, read("a", 0, 10), read("k", 20, 40, outputs=frozenset("x")), inference("m", 41, 50),
        read("b", 52, 90, inputs=frozenset("x")),
    )  # fmt: skip
    assert replay(recorded, Changes(starts_after={"b": "a"})).intervals["b"] == (40, 78)


def test_changes_inside_nested_steps_reach_the_command():
    """A saving inside a sub-agent moves everything that waited for it."""
    nested = run(
        0, 100, step("s", 10, 60, kind=StepKind.OTHER), read("a", 20, 50, parent="s"), read("b", 70, 90),
    )  # fmt: skip
    played = replay(nested, Changes({"a": 10}))
    assert (played.intervals["s"], played.intervals["b"], played.duration_ns) == ((10, 40), (50, 70), 80)


def test_names_that_are_not_in_the_run_change_nothing():
    """Changes made for another run are ignored."""
    recorded = loop((read, "a", 20), (read, "b", 30))
    assert replay(recorded, Changes({"zz": 0}, frozenset({"zz"}), {"zz": "yy", "b": "yy"})).saved_ns == 0


@st.composite
def runs(draw, *, nested=True):
    """Runs of any shape: nested, overlapping, empty and outlying steps of all kinds and effects."""
    steps = []
    for index in range(draw(st.integers(0, 9))):
        parent = draw(st.sampled_from(["c", *(s.span_id for s in steps)])) if nested else "c"
        start = draw(st.integers(-3, 40))
        made = step(
            f"s{index}", start, start + draw(st.integers(0, 15)), parent=parent,
            kind=draw(st.sampled_from([StepKind.TOOL, StepKind.TOOL, StepKind.INFERENCE, StepKind.OTHER])),
            effects=draw(st.sampled_from(list(ToolEffects))), requested_by=draw(st.sampled_from(["", "m1", "m2"])),
            inputs=draw(st.frozensets(st.sampled_from("xy"), max_size=1)),
            outputs=draw(st.frozensets(st.sampled_from("xy"), max_size=1)),
        )  # fmt: skip
        steps.append(made)
    return run(0, draw(st.integers(0, 45)), *steps)


@st.composite
def helpful(draw, execution):
    """Changes that shorten or move steps."""
    ids = [s.span_id for s in execution.steps]
    some = st.lists(st.sampled_from(ids), unique=True) if ids else st.just([])
    lengths = {s.span_id: max(0, s.end_ns - s.start_ns) for s in execution.steps}
    return Changes(
        durations_ns={i: draw(st.integers(0, lengths[i])) for i in draw(some)},
        parallel_replies=draw(st.frozensets(st.sampled_from(["m1", "m2"]))),
        starts_after={i: draw(st.sampled_from(["c", *ids])) for i in draw(some)},
    )


@given(runs())
@settings(max_examples=200, deadline=None)
def test_without_changes_the_recorded_times_come_back(execution):
    """The identity holds for the run and for every step in it, cut to its parent's time."""
    played = replay(execution)
    assert played.duration_ns == played.recorded_ns == execution.command.end_ns - execution.command.start_ns
    nodes = step_tree(execution).root.descendants()
    assert played.intervals == {n.step.span_id: (n.start_ns, n.end_ns) for n in nodes}


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_helpful_changes_never_make_a_run_longer(data):
    """Shortening and moving forward is monotone, and no run takes less than no time."""
    execution = data.draw(runs())
    changes = data.draw(helpful(execution))
    played = replay(execution, changes)
    assert 0 <= played.duration_ns <= played.recorded_ns
    fewer = replace(changes, durations_ns={}, starts_after={})
    assert replay(execution, fewer).duration_ns >= played.duration_ns


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=7))
def test_a_serial_loop_of_reads_matches_the_plain_formula(calls):
    """Started together and joined in order with 1 ns of own code before each: the textbook recurrence."""
    recorded = loop(*((read if reads else write, f"t{i}", length) for i, (length, reads) in enumerate(calls)))
    begun = clock = 11
    barrier = 0  # end of the last write: everything after it waits
    for index, (length, reads) in enumerate(calls):
        asked = clock + (1 if index else 0)
        start = max(begun, barrier) if reads else asked
        clock = max(asked, min(start, asked) + length)
        barrier = barrier if reads else clock
    assert replay(recorded, Changes(parallel_replies=frozenset("m"))).duration_ns == clock + 5


def test_a_long_run_is_replayed_fast():
    """Well under 50 µs a step, dependencies and tree included."""
    calls = [(read if i % 7 else write, f"t{i:05}", 5 + i % 11) for i in range(4000)]
    recorded = loop(*calls)
    began = time.process_time()
    assert replay(recorded, Changes(parallel_replies=frozenset("m"))).saved_ns > 0
    assert (time.process_time() - began) / len(calls) < 200e-6  # four times the aim, for busy machines
