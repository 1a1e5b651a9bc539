"""Runs out of spans."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from written_runs import span

from otel_perfopt import conventions as c
from otel_perfopt.execution.builder import executions_of
from otel_perfopt.execution.critical_path import critical_path, self_times
from otel_perfopt.execution.model import Assignment, Evaluation, Outcome, StepKind, ToolEffects
from otel_perfopt.signal.record import SpanEvent, SpanRecord

RESOURCE = {c.SERVICE_NAME: "shop"}


def chat(span_id, start, end, parent="", tokens=None, **attributes):
    said = {c.GEN_AI_OPERATION_NAME: "chat", c.GEN_AI_REQUEST_MODEL: "model-a", **attributes}
    if tokens is not None:
        said[c.GEN_AI_USAGE_INPUT_TOKENS], said[c.GEN_AI_USAGE_OUTPUT_TOKENS] = tokens
    return span(span_id, start, end, parent, name="chat model-a", attributes=said, resource=RESOURCE)


def tool(span_id, start, end, parent="", name="look", **attributes):
    said = {c.GEN_AI_OPERATION_NAME: "execute_tool", c.GEN_AI_TOOL_NAME: name, **attributes}
    return span(span_id, start, end, parent, name=f"execute_tool {name}", attributes=said, resource=RESOURCE)


def command(span_id, start, end, parent="", name="/query", **attributes):
    said = {c.STEP_KIND: "command", c.COMMAND_NAME: name, **attributes}
    return span(span_id, start, end, parent, name="run", attributes=said, resource=RESOURCE)


def agent(span_id, start, end, parent="", name="helper", **attributes):
    said = {c.GEN_AI_OPERATION_NAME: "invoke_agent", c.GEN_AI_AGENT_NAME: name, **attributes}
    return span(span_id, start, end, parent, name=f"invoke_agent {name}", attributes=said, resource=RESOURCE)


def test_topmost_commands_become_runs():
    """Each topmost command is one run, and a command inside another is a step of it."""
    runs = executions_of([
        command("a", 0, 10), command("b", 20, 30, name="/task"), command("b1", 21, 25, "b", name="/inner"),
        agent("a1", 1, 9, "a"),
    ])  # fmt: skip
    assert [(run.command.span_id, run.command.name) for run in runs] == [("a", "/query"), ("b", "/task")]
    assert [(step.span_id, step.kind) for step in runs[1].steps] == [("b1", StepKind.COMMAND)]
    assert runs[0].steps[0].kind is StepKind.OTHER


def test_agent_span_is_the_command_when_topmost():
    """An agent's span is the run's command where no command encloses it, and its sub-agent a step."""
    (run,) = executions_of([agent("a", 0, 10), agent("s", 2, 8, "a", name="sub"), chat("m", 3, 7, "s")])
    assert (run.command.kind, run.command.name) == (StepKind.COMMAND, "helper")
    assert [(step.kind, step.name, step.target.agent) for step in run.steps] == [
        (StepKind.OTHER, "sub", "sub"), (StepKind.INFERENCE, "model-a", "sub"),
    ]  # fmt: skip


def test_operations_decide_kinds_and_our_word_decides_first():
    """The operation tells what a span is unless perfopt.step.kind says otherwise."""
    spans = [command("r", 0, 100)]
    operations = ["chat", "generate_content", "text_completion", "execute_tool", "retrieval", "embeddings", "plan", "x"]
    spans += [span(f"s{i}", i, i + 1, "r", attributes={c.GEN_AI_OPERATION_NAME: o}) for i, o in enumerate(operations)]
    spans.append(span("t", 50, 60, "r", kind="thinking", attributes={c.GEN_AI_OPERATION_NAME: "chat"}))
    (run,) = executions_of(spans)
    kind = StepKind
    assert [step.kind for step in run.steps] == [
        kind.INFERENCE, kind.INFERENCE, kind.INFERENCE, kind.TOOL, kind.RETRIEVAL, kind.RETRIEVAL, kind.THINKING,
        kind.OTHER, kind.THINKING,
    ]  # fmt: skip


def test_target_is_filled_on_every_step():
    """Service, agent, command, tool and model stand on the steps they are true of."""
    (run,) = executions_of([
        command("r", 0, 10), agent("a", 1, 9, "r"), chat("m", 2, 3, "a"), tool("t", 4, 5, "a", name="find"),
    ])  # fmt: skip
    by_id = {step.span_id: step.target for step in run.steps}
    assert {(t.service, t.command) for t in by_id.values()} == {("shop", "/query")}
    assert (by_id["m"].agent, by_id["m"].model, by_id["m"].tool) == ("helper", "model-a", "")
    assert (by_id["t"].agent, by_id["t"].model, by_id["t"].tool) == ("helper", "", "find")


def test_tokens_count_once_on_the_innermost_span_that_states_them():
    """What an agent or a wrapping client repeats is not counted again."""
    both = {c.GEN_AI_USAGE_INPUT_TOKENS: 300, c.GEN_AI_USAGE_OUTPUT_TOKENS: 30}
    (run,) = executions_of([
        agent("a", 0, 10, **both), chat("w", 1, 4, "a", tokens=(100, 10)), chat("l", 2, 3, "w", tokens=(100, 10)),
        chat("m", 5, 6, "a", tokens=(200, 20)),
    ])  # fmt: skip
    assert (run.tokens.input, run.tokens.output) == (300, 30)
    assert {step.span_id: step.tokens.input for step in run.steps} == {"w": None, "l": 100, "m": 200}


def test_tokens_that_only_the_agent_states_are_kept():
    """Where no model call states its usage, the agent's own counts."""
    usage = {c.GEN_AI_USAGE_INPUT_TOKENS: "300", c.GEN_AI_USAGE_OUTPUT_TOKENS: 30.0}
    (run,) = executions_of([agent("a", 0, 10, **usage), chat("m", 5, 6, "a")])
    assert (run.tokens.input, run.tokens.output) == (300, 30)


def test_thinking_inside_a_model_call_is_part_of_its_output():
    """Reasoning tokens of a thinking span below an inference are not added to those of the inference."""
    reasoning = {c.GEN_AI_USAGE_REASONING_TOKENS: 8, c.GEN_AI_USAGE_OUTPUT_TOKENS: 8}
    (run,) = executions_of([
        command("r", 0, 10), chat("m", 1, 9, "r", tokens=(50, 20), **{c.GEN_AI_USAGE_REASONING_TOKENS: 8}),
        span("t", 1, 4, "m", kind="thinking", attributes=reasoning),
    ])  # fmt: skip
    assert (run.tokens.input, run.tokens.output, run.tokens.reasoning) == (50, 20, 8)


def test_cache_creation_is_read_as_cache_write():
    """Both names of the same count are understood, the newer first."""
    old = {c.GEN_AI_USAGE_CACHE_CREATION_TOKENS: 7}
    new = {c.GEN_AI_USAGE_CACHE_CREATION_TOKENS: 7, c.GEN_AI_USAGE_CACHE_WRITE_TOKENS: 0}
    (run,) = executions_of([command("r", 0, 9), chat("m", 1, 2, "r", **old), chat("n", 3, 4, "r", **new)])
    assert [step.tokens.cache_write for step in run.steps] == [7, 0]


def test_conversation_comes_from_command_ancestor_or_any_step():
    """The command's own conversation wins, then what encloses it, then a step's; none gives the trace id."""
    said = {c.GEN_AI_CONVERSATION_ID: "own"}
    assert (
        executions_of([command("r", 0, 9, **said), chat("m", 1, 2, "r", **{c.GEN_AI_CONVERSATION_ID: "x"})])[
            0
        ].conversation_id
        == "own"
    )
    outer = span("h", 0, 10, name="POST", attributes={c.GEN_AI_CONVERSATION_ID: "outer", c.USER_ID: "u1"})
    (run,) = executions_of([outer, command("r", 1, 9, "h")])
    assert (run.conversation_id, run.user_id) == ("outer", "u1")
    assert (
        executions_of([command("r", 0, 9), chat("m", 1, 2, "r", **{c.GEN_AI_CONVERSATION_ID: "x"})])[0].conversation_id
        == "x"
    )
    (bare,) = executions_of([command("r", 0, 9)])
    assert bare.conversation_id == bare.trace_id


def test_outcome_is_stated_or_follows_the_error():
    """A stated outcome wins over the span's error."""
    failing = span("r", 0, 9, kind="command", error_type="TimeoutError")
    stated = span("r", 0, 9, kind="command", error_type="X", attributes={c.COMMAND_OUTCOME: "interrupted"})
    assert [executions_of([s])[0].outcome for s in (failing, stated, command("r", 0, 9))] == [
        Outcome.FAILED, Outcome.INTERRUPTED, Outcome.COMPLETED,
    ]  # fmt: skip


def test_arms_are_read_from_any_span_and_policy_names_may_have_dots():
    """One assignment a policy; the command's word wins over a step's."""
    on_tool = {
        "perfopt.policy.cache.v2.arm": "treatment", "perfopt.policy.cache.v2.digest": "d1",
        "perfopt.policy.cache.v2.stage": "canary-0", "perfopt.policy.cache.v2.allocation": 0.5,
        "perfopt.policy.other.arm": "treatment",
    }  # fmt: skip
    (run,) = executions_of([
        command("r", 0, 9, **{"perfopt.policy.other.arm": "baseline"}), tool("t", 1, 2, "r", **on_tool),
    ])  # fmt: skip
    assert run.arms == {"cache.v2": Assignment("treatment", "d1", "canary-0", 0.5), "other": Assignment("baseline")}


def test_evaluations_are_collected_in_order_of_time():
    """Judgements on any span of the run become its evaluations."""

    def judged(time_ns, **attributes):
        return SpanEvent(c.GEN_AI_EVALUATION_RESULT_EVENT, time_ns, attributes)

    late = judged(9, **{c.GEN_AI_EVALUATION_NAME: "helpful", c.GEN_AI_EVALUATION_SCORE_VALUE: -1})
    early = judged(5, **{c.GEN_AI_EVALUATION_NAME: "right", c.GEN_AI_EVALUATION_SCORE_LABEL: "pass"})
    (run,) = executions_of([
        span("r", 0, 9, kind="command", events=(late,)), span("m", 1, 2, "r", kind="inference", events=(early,)),
    ])  # fmt: skip
    assert run.evaluations == (Evaluation("right", None, "pass"), Evaluation("helpful", -1.0))


def test_lone_model_call_is_a_run_with_itself_as_step():
    """A root that is itself work is enclosed by a command of our own, so that it is still a step."""
    (run,) = executions_of([chat("m", 3, 8, tokens=(10, 1))])
    assert (run.command.span_id, run.command.start_ns, run.command.end_ns) == ("", 3, 8)
    assert [step.span_id for step in run.steps] == ["m"]
    assert run.tokens.total == 11


def test_several_roots_without_a_command_are_one_run_each():
    """Without a command each root is the centre of its own run."""
    runs = executions_of([span("h", 0, 9, name="job"), chat("m", 1, 2, "h"), chat("n", 20, 21)])
    assert [(run.command.span_id, [s.span_id for s in run.steps]) for run in runs] == [("h", ["m"]), ("", ["n"])]


def test_plain_spans_around_commands_join_the_first_of_them():
    """A server's request span is no run of its own, and its time is not the command's."""
    server = span("h", 0, 100, name="POST /ask", parent="remote")
    first, second = executions_of([server, span("q", 1, 5, "h", name="auth"), command("a", 10, 40, "h"),
                                   command("b", 50, 90, "h"), chat("m", 12, 20, "a")])  # fmt: skip
    assert [step.span_id for step in first.steps] == ["h", "q", "m"]
    assert second.steps == ()
    assert sum(segment.length_ns for segment in critical_path(first)) == 30
    assert {s.step.span_id for s in critical_path(first)} == {"a", "m"}
    assert self_times(first) == {"h": 100 - 4 - 30, "q": 4, "a": 22, "m": 8}


def test_a_span_that_lost_its_parent_joins_the_command_it_ran_in():
    """A lost parent (sampling, a dropped batch) does not split a run."""
    (run,) = executions_of([command("r", 0, 50), tool("t", 10, 20, "gone")])
    assert [step.span_id for step in run.steps] == ["t"]
    assert self_times(run) == {"r": 40, "t": 10}


def test_repeated_delivery_counts_once():
    """Of spans with one id, the one that ended last is kept."""
    (run,) = executions_of([command("r", 0, 50), tool("t", 1, 2, "r"), tool("t", 1, 9, "r"), tool("t", 1, 2, "r")])
    assert [(step.span_id, step.end_ns) for step in run.steps] == [("t", 9)]


def test_requests_are_stated_enclosing_or_the_last_reply_before():
    """Where the span does not say which reply asked for it, the agent's own loop order does."""
    (run,) = executions_of([
        command("r", 0, 99), chat("m1", 1, 5, "r"), tool("t1", 6, 8, "r"), chat("m2", 9, 12, "r"),
        tool("t2", 13, 20, "r"), chat("inner", 14, 15, "t2"), tool("t3", 21, 22, "r"),
        tool("t4", 23, 24, "r", **{c.REQUESTED_BY: "m1"}), chat("m3", 30, 50, "r"), tool("t5", 35, 40, "m3"),
    ])  # fmt: skip
    asked = {step.span_id: step.requested_by for step in run.of_kind(StepKind.TOOL)}
    assert asked == {"t1": "m1", "t2": "m2", "t3": "m2", "t4": "m1", "t5": "m3"}


def test_tool_facts_are_read_and_missing_values_claim_nothing():
    """Effects, digests and resources come from the span; a call that was not looked into counts as cut."""
    told = {
        c.TOOL_EFFECTS: "read", c.ARGUMENTS_DIGEST: "a1", c.RESULT_DIGEST: "r1", c.TOOL_RESOURCE: "f.py",
        c.DATAFLOW_INPUTS: ["x"], c.DATAFLOW_OUTPUTS: ("y", "z"), c.GEN_AI_TOOL_CALL_ID: "call-1",
    }  # fmt: skip
    (run,) = executions_of([command("r", 0, 9), tool("t", 1, 2, "r", **told), tool("u", 3, 4, "r")])
    first, second = run.steps
    assert (first.effects, first.arguments_digest, first.result_digest) == (ToolEffects.READ, "a1", "r1")
    assert (first.resource, first.call_id) == ("f.py", "call-1")
    assert (first.inputs, first.outputs, first.flow_truncated) == ({"x"}, {"y", "z"}, False)
    assert (second.effects, second.flow_truncated) == (ToolEffects.UNKNOWN, True)


def test_a_run_whose_command_has_no_clock_is_untimed():
    """The source says so; an inferred duration alone is still a time."""
    (run,) = executions_of([command("r", 0, 9, **{c.UNTIMED: True})])
    assert not run.timed
    (run,) = executions_of([command("r", 0, 9, **{c.DURATION_ESTIMATED: True})])
    assert run.timed
    assert run.command.estimated


IDS = st.sampled_from(["", *"abcdefgh"])
VALUES = st.one_of(st.text(max_size=4), st.booleans(), st.integers(), st.floats(), st.lists(st.text(max_size=3)))
KEYS = st.sampled_from([
    c.STEP_KIND, c.GEN_AI_OPERATION_NAME, c.GEN_AI_USAGE_INPUT_TOKENS, c.GEN_AI_USAGE_OUTPUT_TOKENS, c.COST_USD,
    c.REQUESTED_BY, c.DATAFLOW_INPUTS, c.TOOL_EFFECTS, "perfopt.policy..arm", "perfopt.policy.p.arm",
    "perfopt.policy.p.allocation", c.GEN_AI_CONVERSATION_ID, c.UNTIMED,
])  # fmt: skip
KINDS = st.sampled_from([kind.value for kind in StepKind])
ATTRIBUTES = st.builds(
    lambda extra, kind: {**extra, **({} if kind is None else {c.STEP_KIND: kind})},
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.none() | KINDS,
)
SPANS = st.builds(
    SpanRecord,
    trace_id=st.sampled_from(["t1", "t2"]), span_id=IDS, parent_span_id=IDS, name=st.text(max_size=3),
    start_ns=st.integers(-5, 40), end_ns=st.integers(-5, 40), attributes=ATTRIBUTES,
    error_type=st.none() | st.just("E"),
)  # fmt: skip


@given(st.lists(SPANS, max_size=14))
@settings(max_examples=200, deadline=None)
def test_any_forest_gives_every_span_exactly_one_place(spans):
    """Whatever is missing, doubled, cyclic or out of order, nothing raises and each span is in one run, once."""
    runs = executions_of(spans)
    placed = Counter(
        (step.trace_id, step.span_id)
        for run in runs
        for step in (run.command, *run.steps)
        if not (step is run.command and step.span_id == "" and step.attributes == {})
    )
    wanted = {(s.trace_id, s.span_id) for s in spans}
    assert {key for key in placed if key in wanted or key[1]} <= wanted
    assert all(placed[key] == 1 for key in wanted if key[1])
    for run in runs:
        assert list(run.steps) == sorted(run.steps, key=lambda s: (s.start_ns, -s.end_ns, s.span_id))
        assert all(step.end_ns >= step.start_ns for step in run.steps)
        assert sum(s.length_ns for s in critical_path(run)) == run.command.end_ns - run.command.start_ns
        assert all(value >= 0 for value in self_times(run).values())


@given(st.lists(SPANS, max_size=14))
def test_order_of_arrival_makes_no_difference(spans):
    """Spans arrive in any order; the runs are the same."""
    distinct = list({(s.trace_id, s.span_id): s for s in spans}.values())
    assert executions_of(distinct) == executions_of(distinct[::-1])


def test_a_very_deep_trace_is_no_problem():
    """A chain of thousands of spans neither recurses nor takes quadratic time."""
    depth = 20_000
    spans = [command("0", 0, 2 * depth)]
    spans += [span(str(i), i, 2 * depth - i, str(i - 1)) for i in range(1, depth)]
    (run,) = executions_of(spans)
    assert len(run.steps) == depth - 1
    assert sum(s.length_ns for s in critical_path(run)) == 2 * depth
    assert len(self_times(run)) == depth


def test_what_a_missing_command_encloses_is_one_unfinished_run():
    """While a command still runs its calls have a parent that is not there yet: one run, known to be unfinished."""
    calls = [tool(str(number), number * 10, number * 10 + 5, parent="open") for number in (1, 2, 3)]
    (run,) = executions_of(replace(call, scope=c.INSTRUMENTATION_SCOPE) for call in calls)
    (foreign,) = executions_of(calls)
    assert foreign.finished
    assert not run.finished
    assert run.outcome is Outcome.ABANDONED
    assert len(run.steps) == 3
    assert (run.command.start_ns, run.command.end_ns) == (10, 35)
