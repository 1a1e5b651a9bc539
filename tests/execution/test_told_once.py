"""Each call told once, whatever layers tell of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_runs import span

from otel_perfopt import conventions as c
from otel_perfopt.execution.builder import executions_of
from otel_perfopt.execution.model import StepKind

MS = 1_000_000


def chat(span_id, start, end, parent, scope, *, model="model-a", reply="", tokens=None, **more):
    said = {c.GEN_AI_OPERATION_NAME: "chat", c.GEN_AI_REQUEST_MODEL: model, **more}
    if reply:
        said[c.GEN_AI_RESPONSE_ID] = reply
    if tokens:
        said |= {c.GEN_AI_USAGE_INPUT_TOKENS: tokens[0], c.GEN_AI_USAGE_OUTPUT_TOKENS: tokens[1]}
    return span(span_id, start * MS, end * MS, parent, kind="inference", attributes=said, scope=scope)


def tool(span_id, start, end, parent, scope, *, name="look", call_id="", **more):
    said = {c.GEN_AI_TOOL_NAME: name, **more}
    if call_id:
        said[c.GEN_AI_TOOL_CALL_ID] = call_id
    return span(span_id, start * MS, end * MS, parent, kind="tool", attributes=said, scope=scope)


def command(end=100):
    return span("r", 0, end * MS, kind="command")


def kinds(run, kind):
    return [step.span_id for step in run.of_kind(kind)]


def test_a_client_inside_its_instrumentation_is_one_call_with_all_that_either_says():
    """The inner span is the step; what only the outer one states is added to it, and tokens count once."""
    (run,) = executions_of([
        command(), chat("outer", 1, 9, "r", "instrumentation", tokens=(100, 20), **{c.GEN_AI_CONVERSATION_ID: "s"}),
        chat("inner", 2, 8, "outer", "com.anthropic.sdk.python", tokens=(0, 20), **{c.GEN_AI_RESPONSE_MODEL: "m-1"}),
    ])  # fmt: skip
    assert kinds(run, StepKind.INFERENCE) == ["inner"]
    (step,) = run.of_kind(StepKind.INFERENCE)
    assert (step.tokens.input, step.tokens.output, run.tokens.total) == (100, 20, 120)
    assert (step.attributes[c.GEN_AI_RESPONSE_MODEL], run.conversation_id) == ("m-1", "s")


def test_one_reply_is_one_call_wherever_its_spans_hang():
    """Siblings that overlap and name the same reply are one; the client's own counts are the ones believed."""
    (run,) = executions_of([
        command(), chat("a", 1, 9, "r", "instrumentation", reply="msg_1", tokens=(100, 21)),
        chat("b", 2, 8, "r", "com.anthropic.sdk.python", reply="msg_1", tokens=(100, 20)),
    ])  # fmt: skip
    assert kinds(run, StepKind.INFERENCE) == ["a"]
    assert (run.tokens.input, run.tokens.output) == (100, 20)
    assert {step.span_id: step.parent_span_id for step in run.steps} == {"a": "r", "b": "a"}


def test_a_cached_reply_served_again_is_a_call_of_its_own():
    """The same reply's id later in time is another call."""
    (run,) = executions_of([
        command(), chat("a", 1, 9, "r", "x", reply="msg_1"), chat("b", 20, 21, "r", "x", reply="msg_1"),
    ])  # fmt: skip
    assert kinds(run, StepKind.INFERENCE) == ["a", "b"]


def test_layers_that_begin_and_end_together_are_one_call():
    """A framework's span and the client's beside it, with one model: the one inside the agent is the step."""
    (run,) = executions_of([
        command(), span("n", 0, 30 * MS, "r"), chat("f", 1, 30, "n", "framework"),
        chat("k", 3, 29, "r", "client", tokens=(7, 3)),
    ])  # fmt: skip
    assert kinds(run, StepKind.INFERENCE) == ["f"]
    assert run.tokens.total == 10


@pytest.mark.parametrize(
    "second",
    [
        chat("b", 3, 29, "r", "one"),
        chat("b", 3, 29, "r", "two", model="model-b"),
        chat("b", 3, 29, "r", "two", reply="other"),
        chat("b", 3, 31, "r", "two"),
        chat("b", 300, 900, "r", "two"),
    ],
    ids=["one layer", "another model", "another reply", "ends later", "too short for its wrapper"],
)
def test_calls_that_run_at_the_same_time_stay_apart(second):
    """One layer, another model, another reply or another time: two calls."""
    end = 5000 if second.start_ns > 30 * MS else 30
    first = chat("a", 1, end, "r", "one", reply="first")
    (run,) = executions_of([command(6000), first, second])
    assert kinds(run, StepKind.INFERENCE) == ["a", "b"]


def test_parallel_calls_of_two_layers_pair_up():
    """Each framework span takes one client span; as many calls remain as were made."""
    spans = [command()]
    for number in range(5):
        spans += [
            chat(f"f{number}", 1, 40 + number, "r", "framework"),
            chat(f"k{number}", 2, 40 + number, "r", "client", tokens=(10, 1)),
        ]
    (run,) = executions_of(spans)
    assert len(run.of_kind(StepKind.INFERENCE)) == 5
    assert run.tokens.total == 55


def test_a_wrapper_around_retries_is_no_call():
    """A span around several model calls is their wrapper; the calls are the steps."""
    (run,) = executions_of([
        command(), chat("w", 1, 30, "r", "x", tokens=(10, 2)), chat("a", 2, 9, "w", "x"),
        chat("b", 10, 29, "w", "x", tokens=(10, 2)),
    ])  # fmt: skip
    assert kinds(run, StepKind.INFERENCE) == ["a", "b"]
    assert run.tokens.total == 12


def test_a_model_call_of_a_tool_is_its_own():
    """A tool inside a model call that calls a model: nothing is repeated."""
    (run,) = executions_of([
        command(), chat("a", 1, 30, "r", "x"), tool("t", 2, 20, "a", "x"), chat("b", 3, 9, "t", "y"),
    ])  # fmt: skip
    assert kinds(run, StepKind.INFERENCE) == ["a", "b"]


def test_a_tool_over_mcp_is_one_call():
    """The framework's span, the client's request and the server's answer are one step, the framework's."""
    mcp = {c.MCP_METHOD_NAME: c.MCP_TOOLS_CALL}
    (run,) = executions_of([
        command(), tool("f", 1, 30, "r", "framework", **{c.ARGUMENTS_DIGEST: "d"}),
        tool("k", 2, 29, "f", "mcp-python-sdk", **mcp), tool("s", 3, 28, "k", "mcp-python-sdk", **mcp),
    ])  # fmt: skip
    assert kinds(run, StepKind.TOOL) == ["f"]
    assert run.of_kind(StepKind.TOOL)[0].arguments_digest == "d"


def test_ours_is_the_step_whatever_stands_around_it():
    """What this package wrote is referred to by its id, so it is the one that stays."""
    ours = replace(
        tool("o", 2, 29, "f", c.INSTRUMENTATION_SCOPE), attributes={c.STEP_KIND: "tool", c.GEN_AI_TOOL_NAME: "look"}
    )
    (run,) = executions_of([command(), tool("f", 1, 30, "r", "framework", call_id="c1"), ours])
    (step,) = run.of_kind(StepKind.TOOL)
    assert (step.span_id, step.call_id) == ("o", "c1")


def test_a_tool_that_calls_itself_is_called_twice():
    """Recursion in one layer is no repetition."""
    (run,) = executions_of([command(), tool("a", 1, 30, "r", "x"), tool("b", 2, 20, "a", "x")])
    assert kinds(run, StepKind.TOOL) == ["a", "b"]


def test_an_embedding_of_two_layers_is_one_and_a_retrieval_around_it_another():
    """The operation tells them apart."""

    def retrieval(span_id, start, end, parent, *, scope, operation):
        said = {c.GEN_AI_OPERATION_NAME: operation}
        return span(span_id, start * MS, end * MS, parent, kind="retrieval", attributes=said, scope=scope)

    (run,) = executions_of([
        command(), retrieval("q", 1, 30, "r", scope="x", operation="retrieval"), retrieval("a", 2, 20, "q", scope="y", operation="embeddings"),
        retrieval("b", 3, 19, "a", scope="z", operation="embeddings"),
    ])  # fmt: skip
    assert kinds(run, StepKind.RETRIEVAL) == ["q", "b"]


SPANS = st.lists(
    st.builds(
        lambda number, start, length, parent, scope, reply, kind: (
            chat(f"i{number}", start, start + length, parent, scope, reply=reply)
            if kind
            else tool(f"t{number}", start, start + length, parent, scope, call_id=reply)
        ),
        st.integers(0, 30), st.integers(0, 20), st.integers(0, 20), st.sampled_from(["r", "i1", "i2", "t1", "t2", ""]),
        st.sampled_from(["x", "y", c.INSTRUMENTATION_SCOPE]), st.sampled_from(["", "one", "two"]), st.booleans(),
    ),
    max_size=12,
)  # fmt: skip


@given(SPANS)
def test_no_span_is_lost_and_the_order_of_arrival_makes_no_difference(spans):
    """Whatever repeats what, every span stays in one place."""
    distinct = list({one.span_id: one for one in spans}.values())
    runs = executions_of([command(), *distinct])
    placed = sorted(step.span_id for run in runs for step in (run.command, *run.steps) if step.span_id)
    assert placed == sorted({"r", *(one.span_id for one in distinct)})
    assert executions_of([*distinct[::-1], command()]) == runs
