"""Overlap reached and possible, on runs worked out by hand and at random."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_runs import inference, read, run, step, write

from otel_perfopt.execution.model import StepKind, ToolEffects
from otel_perfopt.execution.parallelism import Overlap, parallelism


def serial_reads():
    """Two replies; the first asks for two reads of 20, the second for one of 30, made one after another."""
    return run(
        0, 200, inference("m1", 0, 10), read("a", 10, 30, requested_by="m1", call_id="1"),
        read("b", 30, 50, requested_by="m1", call_id="2"), inference("m2", 50, 60),
        read("d", 60, 90, requested_by="m2", call_id="3"), inference("m3", 90, 100),
    )  # fmt: skip


def test_serial_reads_could_overlap_within_and_across_replies():
    """Within replies the two reads of 20 go together; across, all three, after the first reply."""
    found = parallelism(serial_reads())
    assert found.tools == Overlap(70, 70, 50, 30)
    assert found.tools.reached == pytest.approx(1.0)
    assert found.tools.possible_within_replies == pytest.approx(70 / 50)
    assert found.leaves.busy_ns == found.leaves.elapsed_ns == 100
    assert found.leaves.within_replies_ns == 80
    # m1 ends at 10; the reads end at 30, 30 and 40; m2 follows those of m1, m3 everything.
    assert found.leaves.across_replies_ns == 50


def test_a_call_waits_for_the_turn_that_knew_its_arguments():
    """A value out of the first result can be asked for only by a later turn."""
    chained = run(
        0, 200, inference("m1", 0, 10), read("a", 10, 30, requested_by="m1", outputs=frozenset("x")),
        inference("m2", 30, 40), read("b", 40, 60, requested_by="m2", inputs=frozenset("x")),
    )  # fmt: skip
    assert parallelism(chained).leaves.across_replies_ns == 60
    assert parallelism(chained).tools.across_replies_ns == 40


def test_writes_stay_in_order():
    """Nothing is possible where every call writes."""
    found = parallelism(run(0, 99, *(write(f"w{i}", 10 * i, 10 * i + 10, requested_by="m") for i in range(3))))
    assert found.tools == Overlap(30, 30, 30, 30)


def test_overlap_that_was_had_is_reached():
    """Three calls side by side are a speed-up of three, and no more was possible."""
    found = parallelism(run(0, 99, *(step(f"t{i}", 10, 40, requested_by="m") for i in range(3))))
    assert found.tools.reached == found.tools.upper_bound_across_replies == pytest.approx(3.0)


def test_nesting_is_no_overlap():
    """A tool that runs an agent is not beside the calls inside it, nor thinking beside its model call."""
    nested = run(
        0, 99, step("task", 0, 50), inference("m", 0, 20, parent="task"), read("a", 20, 50, parent="task"),
        step("t", 2, 9, parent="m", kind=StepKind.THINKING),
    )  # fmt: skip
    found = parallelism(nested)
    assert (found.tools.busy_ns, found.tools.elapsed_ns) == (30, 30)
    assert (found.leaves.busy_ns, found.leaves.elapsed_ns) == (50, 50)


def test_no_time_is_no_speed_up():
    """A run without steps, or without a clock, says nothing about overlap."""
    assert parallelism(run(0, 9)).tools.reached is None
    assert parallelism(run(0, 9, read("a", 3, 3))).tools.upper_bound_across_replies is None


@st.composite
def runs(draw):
    """Calls and turns anywhere."""
    steps = []
    for index in range(draw(st.integers(0, 9))):
        start = draw(st.integers(0, 30))
        kind = draw(st.sampled_from([StepKind.TOOL, StepKind.TOOL, StepKind.INFERENCE]))
        steps.append(
            step(
                f"s{index}",
                start,
                start + draw(st.integers(0, 12)),
                kind=kind,
                effects=draw(st.sampled_from(list(ToolEffects))),
                requested_by=draw(st.sampled_from(["", "m1", "m2"])),
                inputs=draw(st.frozensets(st.sampled_from("xy"), max_size=1)),
                outputs=draw(st.frozensets(st.sampled_from("xy"), max_size=1)),
            )
        )
    return run(0, 45, *steps)


@given(runs())
@settings(max_examples=200, deadline=None)
def test_what_is_possible_is_at_least_what_was_reached(execution):
    """Bounds are ordered: the longest step, across replies, within replies, as recorded, one after another."""
    found = parallelism(execution)
    for overlap, steps in ((found.tools, execution.of_kind(StepKind.TOOL)), (found.leaves, execution.steps)):
        longest = max((s.end_ns - s.start_ns for s in steps), default=0)
        assert longest <= overlap.across_replies_ns <= overlap.elapsed_ns <= overlap.busy_ns
        assert longest <= overlap.within_replies_ns <= overlap.elapsed_ns


def test_sums_over_runs_are_field_by_field():
    """Speed-ups of many runs are ratios of sums, not means of ratios."""
    total = parallelism(serial_reads()).tools + Overlap(10, 10, 10, 10)
    assert total.possible_within_replies == pytest.approx(80 / 60)
