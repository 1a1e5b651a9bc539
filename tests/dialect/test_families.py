"""The real packages of every family, on recorded provider replies: the same call is the same step.

`nox -s families` makes the environments and runs this.
"""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase

import pytest
from cassettes import call_jobs, cassette
from family import CONTENT_OFF, CONTENT_ON, run_family
from recorded_call import recorded_calls
from same_step import seen, truth

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import StepKind
from otel_perfopt.signal.digest import content_digest

pytestmark = pytest.mark.families

MODEL_CALLS = (StepKind.INFERENCE, StepKind.RETRIEVAL)
LANGCHAIN_CASSETTES = (
    "test_parallel_tool_calls.yaml", "test_tool_calls_anthropic_text_block.yaml", "test_openai_prompt_caching.yaml",
    "test_records_token_counts_for_streaming_openai_llm.yaml", "test_anthropic_prompt_caching_legacy.yaml",
)  # fmt: skip
# (family, method, streams or None for both, field): what a family does not write, or writes otherwise.
# A gap that closes fails the test, and is then taken out of the table.
GAPS = {
    ("official", "completions.create", None, "step"): "text completions are not instrumented",
    ("official_v2", "completions.create", None, "step"): "text completions are not instrumented",
    ("official_v2", "responses.create", None, "step"): "the Responses API is not instrumented",
    ("official_v2", "chat.completions.create", False, "cache read"): "not written",
    ("official_v2", "chat.completions.create", False, "reasoning"): "not written",
    ("official_v2", "chat.completions.create", True, "finish"): "not written of streams",
    ("official_v2", "chat.completions.create", True, "streams"): "not written",
    ("openinference", "completions.create", True, "finish"): "not written where the last chunk has no choice",
    ("openinference", "embeddings.create", False, "response model"): "not written",
    ("openllmetry", "*completions.create", True, "response model"): "cut before its last slash",
    ("openllmetry", "completions.create", True, "finish"): "not written where the last chunk has no choice",
}

# The same where Anthropic's client writes no spans of its own that would put it right.
ALONE_GAPS = {
    ("openllmetry", "*messages.create", True, "output"): "the first event's tokens are counted once more",
    ("openllmetry", "*messages.create", True, "reasoning"): "not written",
}


@pytest.fixture(scope="session")
def calls(cassettes):
    return call_jobs(cassettes)


@pytest.fixture(scope="session")
def with_content(family_python, calls, cassettes, tmp_path_factory):
    """Every recorded call made again, and the agents' runs, with content captured."""
    family, python = family_python
    jobs = [job for job, _ in calls.values()]
    jobs += [
        {"name": "langchain_agent", "run": "langchain_agent",
         "cassette": str(cassette(cassettes, "test_agent_with_raw_dict_messages.yaml"))},
        {"name": "openai_agents_agent", "run": "openai_agents_agent",
         "cassette": str(cassette(cassettes, "test_openai_tool_span_instrumentation_v5.yaml"))},
        {"name": "mcp_in_process", "run": "mcp_in_process"},
        {"name": "mcp_over_stdio", "run": "mcp_over_stdio"},
    ]  # fmt: skip
    jobs += [
        {"name": f"langchain.{name}", "run": "langchain", "cassette": str(cassette(cassettes, name))}
        for name in LANGCHAIN_CASSETTES
    ]
    return run_family(python, jobs, tmp_path_factory.mktemp(family), CONTENT_ON)


@pytest.fixture(scope="session")
def without_content(family_python, calls, tmp_path_factory):
    """Every recorded call made again with no content captured."""
    family, python = family_python
    jobs = [job for job, _ in calls.values()]
    return run_family(python, jobs, tmp_path_factory.mktemp(f"{family}_bare"), CONTENT_OFF)


def compared(family, outcome, calls, fields=None, gaps=GAPS):
    """Return how many calls were compared, how they differ outside the table of gaps, and the gaps met."""
    number, differences, met = 0, [], set()
    for name, (_, made) in calls.items():
        steps = outcome.steps(name, *MODEL_CALLS)
        gap = [gap_of(family, call, "step", gaps) for call in made]
        if all(gap) and not steps:
            met |= set(gap)
            continue
        assert len(steps) == len(made), f"{name}: {len(made)} calls, {[step.name for step in steps]}"
        for call, step in zip(made, steps, strict=True):
            if call.status != 200:
                assert step.error_type, name
                continue
            number += 1
            expected, found = truth(call), seen(step)
            for field in fields or expected:
                if found[field] != expected[field]:
                    known = gap_of(family, call, field, gaps)
                    met.add(known)
                    if known is None:
                        differences.append((name, call.method, field, expected[field], found[field]))
    return number, differences, met - {None}


def gap_of(family, call, field, gaps=GAPS):
    for gap in gaps:
        its_family, method, streams, its_field = gap
        here = (its_family, its_field) == (family, field) and streams in (None, call.streams)
        if here and fnmatchcase(call.method, method):
            return gap
    return None


def test_every_recorded_call_is_the_step_its_reply_tells_of(family_python, with_content, calls):
    """Kind, models, every count of tokens, finish, id and streaming are those of the raw reply; gaps are known."""
    family, _ = family_python
    number, differences, met = compared(family, with_content, calls)
    assert not differences, Counter(difference[1:3] for difference in differences)
    assert number >= 180
    assert met == {gap for gap in GAPS if gap[0] == family}


def test_tokens_of_a_run_are_those_of_its_replies(family_python, with_content, calls):
    """However many layers and agents repeat them, a run's tokens are the sum of its replies' tokens."""
    family, _ = family_python
    for name, (_, made) in calls.items():
        wanted = [truth(call) for call in made if call.status == 200 and not gap_of(family, call, "step")]
        chats = [facts for facts in wanted if facts["kind"] == "inference"]
        (run,) = with_content.runs(name)
        assert (run.tokens.input or 0, run.tokens.output or 0) == (
            sum(facts["input"] or 0 for facts in chats),
            sum(facts["output"] or 0 for facts in chats),
        ), name


def test_without_content_the_counts_and_models_are_the_same(family_python, without_content, calls):
    """What a production agent writes, with content off, is enough for the step; ids may be missing then."""
    family, _ = family_python
    fields = ["kind", "name", "request model", "input", "output", "cache read", "cache write", "reasoning", "error"]
    number, differences, _ = compared(family, without_content, calls, fields)
    assert not differences, differences[:5]
    assert number >= 180


def test_anthropic_is_understood_without_the_clients_own_spans(family_python, calls, tmp_path):
    """What each family's own spans say of Anthropic's replies, with no other span around or inside them."""
    family, python = family_python
    if family == "official_v2":
        pytest.skip("this family has no instrumentation of Anthropic's client")
    alone = {
        name: ({**job, "hosted": False}, made)
        for name, (job, made) in calls.items()
        if all(call.client == "anthropic" for call in made)
    }
    switched_off = {**CONTENT_ON, "ANTHROPIC_OPEN_TELEMETRY": "false"}
    outcome = run_family(python, [job for job, _ in alone.values()], tmp_path, switched_off)
    number, differences, met = compared(family, outcome, alone, gaps=ALONE_GAPS)
    assert not differences, differences[:5]
    assert number >= 40
    assert met == {gap for gap in ALONE_GAPS if gap[0] == family}


def test_langchain_agents_are_seen_alike(family_python, with_content):
    """One command, two streamed replies, one tool call asked for by the first, in every family that sees LangChain."""
    family, _ = family_python
    if family == "official_v2":
        pytest.skip("this family has no instrumentation of LangChain")
    (run,) = with_content.runs("langchain_agent")
    first, second = run.of_kind(StepKind.INFERENCE)
    (called,) = run.of_kind(StepKind.TOOL)
    assert (run.command.name, run.conversation_id) == ("weather_agent", "thread-7")
    assert {step.target.agent for step in (first, second, called)} == {"weather_agent"}
    assert [step.attributes[c.GEN_AI_RESPONSE_FINISH_REASONS] for step in (first, second)] == [
        ("tool_call",),
        ("stop",),
    ]
    assert (called.name, called.call_id) == ("get_weather", "call_7p1vRWhZc9Pm0j6JVvrHK4ZE")
    assert called.requested_by == first.span_id
    assert called.result_digest == content_digest("sunny in London, station LDN-4711")
    # OpenInference's LangChain writes a single argument without its name.
    argument = "London" if family == "openinference" else {"location": "London"}
    assert called.arguments_digest == content_digest(argument)


def test_agents_of_the_openai_sdk_are_seen_alike(family_python, with_content):
    """One command, two replies with their tokens once, one tool call with its arguments."""
    family, _ = family_python
    (run,) = with_content.runs("openai_agents_agent")
    first, second = run.of_kind(StepKind.INFERENCE)
    (called,) = run.of_kind(StepKind.TOOL)
    assert [(step.tokens.input, step.tokens.output) for step in (first, second)] == [(43, 14), (70, 8)]
    assert (run.tokens.input, run.tokens.output) == (113, 22)
    assert {step.attributes[c.GEN_AI_RESPONSE_MODEL] for step in (first, second)} == {"gpt-4o-mini-2024-07-18"}
    # The early official package names every agent so.
    agent = "OpenAI Agent" if family == "official_v2" else "weather_agent"
    assert {step.target.agent for step in (first, second, called)} == {agent}
    assert called.requested_by == first.span_id
    assert called.arguments_digest == content_digest({"city": "Paris"})
    assert called.result_digest == content_digest("sunny in Paris, station PAR-0815")
    assert run.outcome.value == "completed"


@pytest.mark.parametrize("name", LANGCHAIN_CASSETTES)
def test_calls_through_langchain_count_once(family_python, with_content, cassettes, name):
    """The framework's span, the instrumented client's and the client's own are one step with the reply's counts."""
    made = [truth(call) for call in recorded_calls(cassette(cassettes, name))]
    steps = with_content.steps(f"langchain.{name}", StepKind.INFERENCE)
    counts = [[facts[field] for field in ("input", "output", "cache read", "finish")] for facts in map(seen, steps)]
    wanted = [[facts[field] for field in ("input", "output", "cache read", "finish")] for facts in made]
    family, _ = family_python
    if family == "official_v2" and "caching" in name and "openai" in name:
        counts, wanted = ([line[:2] for line in lines] for lines in (counts, wanted))
    if family == "official_v2" and "streaming" in name:
        counts, wanted = ([line[:3] for line in lines] for lines in (counts, wanted))
    assert counts == wanted


def test_mcp_calls_are_tool_calls(with_content):
    """The client's requests and the server's answers are tool steps with their names and errors; listings are none."""
    answered, failed = with_content.steps("mcp_in_process", StepKind.TOOL)
    assert (answered.name, answered.error_type) == ("get_weather", None)
    assert (failed.name, failed.error_type) == ("get_weather", "tool_error")
    assert len(with_content.steps("mcp_in_process", StepKind.RETRIEVAL)) == 1
    assert [step.name for step in with_content.steps("mcp_over_stdio", StepKind.TOOL)] == ["get_weather"]


def test_the_environment_has_the_family(family_python, with_content):
    """The packages are on; what cannot be switched on is known."""
    family, _ = family_python
    broken = {package for package, state in with_content.states.items() if state != "on"}
    # It looks for a function that this version of MCP has no more.
    assert broken == ({"opentelemetry-instrumentation-mcp"} if family == "openllmetry" else set())
    assert len(with_content.states) - len(broken) >= 2


def test_several_families_at_once_are_still_one_step_a_call(prepared, calls, tmp_path):
    """Three instrumentations of one client, and a client that writes spans itself: every call counts once."""
    outcome = run_family(prepared("several"), [job for job, _ in calls.values()], tmp_path, CONTENT_ON)
    assert len(outcome.states) >= 4
    number, differences, _ = compared("openinference", outcome, calls)
    assert not differences, differences[:5]
    assert number >= 180
