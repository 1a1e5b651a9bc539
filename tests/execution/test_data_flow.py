"""What one call needs of another: values, effects, and what cannot be known."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from written_runs import inference, read, run, step, write

from otel_perfopt.execution.data_flow import adjacent_reads, dependencies, independent_adjacent_pairs
from otel_perfopt.execution.model import ToolEffects


def values(*names):
    return frozenset(names)


def test_a_value_first_seen_in_a_result_is_a_dependency():
    """The earliest call that gave the value is needed; a later one that gave it again is not."""
    chain = run(
        0, 99, read("a", 1, 2, outputs=values("x", "y")), read("b", 3, 4, outputs=values("x")),
        read("d", 5, 6, inputs=values("x")), read("e", 7, 8, inputs=values("new")),
    )  # fmt: skip
    assert dependencies(chain) == {"a": values(), "b": values(), "d": values("a"), "e": values()}


def test_a_value_known_before_is_no_dependency():
    """What the prompt, earlier runs or the model's own earlier arguments held did not come from the result."""
    reads = (
        read("a", 1, 2, inputs=values("own"), outputs=values("own", "told")),
        read("b", 3, 4, inputs=values("own", "told")),
    )
    assert dependencies(run(0, 9, *reads)) == {"a": values(), "b": values("a")}
    assert dependencies(run(0, 9, *reads), known=values("told")) == {"a": values(), "b": values()}


def test_writes_keep_their_order_and_are_barriers_for_what_they_touch():
    """A read of another, named resource may pass a write; a read of anything may not."""
    mixed = run(
        0, 99, write("w1", 1, 2, resource="f"), read("other", 3, 4, resource="g"), read("same", 5, 6, resource="f"),
        read("any", 7, 8), write("w2", 9, 10, resource="g"), write("w3", 11, 12),
    )  # fmt: skip
    found = dependencies(mixed)
    assert found["other"] == values()
    assert found["same"] == values("w1")
    assert found["any"] == values("w1")
    assert found["w2"] == values("w1", "other", "any")
    assert found["w3"] == values("w2", "same")


def test_unknown_effects_are_a_barrier_both_ways():
    """A call of unknown effects follows everything before it, and everything after follows it."""
    found = dependencies(run(0, 99, read("a", 1, 2), step("u", 3, 4, resource="f"), read("b", 5, 6, resource="g")))
    assert found == {"a": values(), "u": values("a"), "b": values("u")}
    assert step("u", 0, 1).effects is ToolEffects.UNKNOWN


def test_cut_outputs_may_have_given_any_value_of_unknown_origin():
    """A call whose outputs are not all listed is needed unless every input was seen elsewhere first."""
    cut = run(
        0, 99, read("a", 1, 2, outputs=values("x")), read("cut", 3, 4, outputs=values("y"), flow_truncated=True),
        read("b", 5, 6, inputs=values("x")), read("d", 7, 8, inputs=values("z")), read("e", 9, 10),
        read("f", 11, 12, inputs=values("z")),
    )  # fmt: skip
    found = dependencies(cut)
    assert (found["b"], found["d"], found["e"], found["f"]) == (values("a"), values("cut"), values(), values("cut"))


def test_a_call_that_was_not_looked_into_depends_on_everything():
    """Without any listed value nothing can be claimed of a call."""
    blind = run(0, 99, read("a", 1, 2), read("b", 3, 4, flow_truncated=True), read("d", 5, 6, flow_truncated=True))
    assert dependencies(blind) == {"a": values(), "b": values("a"), "d": values("b")}


def test_calls_of_one_reply_cannot_use_each_other():
    """The model asked for both before either had a result; only stated calls of a reply count as such."""
    asked = {"requested_by": "m"}
    first = read("a", 1, 2, outputs=values("x"), call_id="1", **asked)
    assert dependencies(run(0, 9, first, read("b", 3, 4, inputs=values("x"), call_id="2", **asked)))["b"] == values()
    assert dependencies(run(0, 9, first, read("b", 3, 4, inputs=values("x"), **asked)))["b"] == values("a")


def test_calls_that_overlapped_do_not_depend_on_each_other():
    """The recording shows that neither waited for the other, whatever their effects."""
    found = dependencies(run(0, 9, write("a", 1, 5, outputs=values("x")), write("b", 3, 6, inputs=values("x"))))
    assert found == {"a": values(), "b": values()}


def test_adjacent_reads_of_different_replies_are_paired():
    """Pairs need two reads, one after the other, of which the second was asked for later."""
    talk = run(
        0, 99, inference("m1", 0, 1), read("a", 1, 2, requested_by="m1", outputs=values("x")),
        read("b", 2, 3, requested_by="m1"), inference("m2", 3, 4), read("d", 4, 5, requested_by="m2"),
        write("w", 5, 6, requested_by="m3"), read("e", 6, 7, requested_by="m4", outputs=values("y")),
        read("f", 7, 8, requested_by="m5", inputs=values("y")),
    )  # fmt: skip
    pairs = adjacent_reads(talk)
    assert [(p.first.span_id, p.second.span_id, p.independent) for p in pairs] == [("b", "d", True), ("e", "f", False)]
    assert [(a.span_id, b.span_id) for a, b in independent_adjacent_pairs(talk)] == [("b", "d")]


VALUES = st.frozensets(st.sampled_from("pqrs"), max_size=2)


@st.composite
def tool_runs(draw, effects=tuple(ToolEffects)):
    """Calls at random times, values, effects and resources."""
    steps = []
    for index in range(draw(st.integers(0, 8))):
        start = draw(st.integers(0, 20))
        steps.append(
            step(
                f"t{index}",
                start,
                start + draw(st.integers(0, 4)),
                inputs=draw(VALUES),
                outputs=draw(VALUES),
                effects=draw(st.sampled_from(effects)),
                resource=draw(st.sampled_from(["", "f", "g"])),
                flow_truncated=draw(st.booleans()),
            )
        )
    return run(0, 30, *steps)


def closure(found):
    everything = {}
    for span_id, direct in found.items():  # in order of start: what is needed is already closed
        everything[span_id] = set(direct).union(*(everything[d] for d in direct))
    return everything


@given(tool_runs())
@settings(max_examples=200, deadline=None)
def test_effects_keep_the_order_that_pairs_require(execution):
    """Looking at every pair by itself, each required order is kept, directly or through calls in between."""
    found = closure(dependencies(execution))
    tools = {s.span_id: s for s in execution.steps}
    order = list(tools)
    for later in order:
        assert all(tools[d].end_ns <= tools[later].start_ns for d in found[later])
        for earlier in order[: order.index(later)]:
            a, b = tools[earlier], tools[later]
            both = {a.effects, b.effects}
            places = {"" if s.effects is ToolEffects.UNKNOWN else s.resource for s in (a, b)}
            meet = "" in places or len(places) == 1
            ordered = ToolEffects.READ not in both or (both != {ToolEffects.READ} and meet)
            if ordered and a.end_ns <= b.start_ns:
                assert earlier in found[later]


@given(tool_runs(effects=(ToolEffects.READ,)))
@settings(max_examples=200, deadline=None)
def test_values_lead_to_their_first_listed_source(execution):
    """For reads, every dependency is the first to list a used value, or a call with a cut list."""
    found = dependencies(execution)
    tools = {s.span_id: s for s in execution.steps}
    for b in execution.steps:
        before = [a for a in execution.steps[: execution.steps.index(b)] if a.end_ns <= b.start_ns]
        for a_id in found[b.span_id]:
            gave = tools[a_id].outputs & b.inputs
            blind = b.flow_truncated and not b.inputs and not b.outputs
            assert gave or tools[a_id].flow_truncated or blind
        for value in b.inputs:
            asked_before = any(value in o.inputs for o in execution.steps if o is not b and o.start_ns <= b.start_ns)
            sources = [a for a in before if value in a.outputs]
            if sources and not asked_before:
                first_end = min(a.end_ns for a in sources)
                assert any(a.span_id in found[b.span_id] for a in sources if a.end_ns == first_end)


def test_memory_stays_small_where_nothing_is_known():
    """Thousands of calls that nobody looked into need few edges, and still form one chain."""
    blind = run(0, 10**6, *(read(f"t{i:05}", 2 * i, 2 * i + 1, flow_truncated=True) for i in range(1000)))
    found = dependencies(blind)
    assert sum(map(len, found.values())) < 1000 * 70
    assert len(closure(found)["t00999"]) == 999
