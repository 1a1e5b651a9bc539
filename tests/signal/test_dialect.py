from __future__ import annotations

import pytest

from otel_perfopt import conventions as c
from otel_perfopt.signal.dialect import normalise

CALL = {
    c.STEP_KIND: "inference",
    c.GEN_AI_OPERATION_NAME: "chat",
    c.GEN_AI_REQUEST_MODEL: "gpt-4o",
    c.GEN_AI_USAGE_INPUT_TOKENS: 100,
    c.GEN_AI_USAGE_OUTPUT_TOKENS: 20,
    c.GEN_AI_USAGE_CACHE_READ_TOKENS: 60,
    c.GEN_AI_USAGE_CACHE_WRITE_TOKENS: 10,
    c.GEN_AI_USAGE_REASONING_TOKENS: 5,
    c.GEN_AI_CONVERSATION_ID: "s1",
    c.USER_ID: "u1",
}

SAME_CALL = {
    "official": ("chat gpt-4o", {**{key: value for key, value in CALL.items() if key != c.STEP_KIND}}),
    "official, before renaming": (
        "chat gpt-4o",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.prompt_tokens": 100,
            "gen_ai.usage.completion_tokens": 20,
            "gen_ai.usage.cache_read.input_tokens": 60,
            "gen_ai.usage.cache_creation.input_tokens": 10,
            "gen_ai.usage.reasoning.output_tokens": 5,
            "gen_ai.conversation.id": "s1",
            "enduser.id": "u1",
        },
    ),
    "OpenInference": (
        "ChatCompletion",
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "gpt-4o",
            "llm.token_count.prompt": 100,
            "llm.token_count.completion": 20,
            "llm.token_count.prompt_details.cache_read": 60,
            "llm.token_count.prompt_details.cache_write": 10,
            "llm.token_count.completion_details.reasoning": 5,
            "session.id": "s1",
            "user.id": "u1",
            "llm.input_messages.0.message.content": "secret",
            "input.value": "secret",
            "output.value": "secret",
        },
    ),
    "OpenLLMetry": (
        "openai.chat",
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.cache_read_input_tokens": 60,
            "gen_ai.usage.cache_creation_input_tokens": 10,
            "gen_ai.usage.reasoning_tokens": 5,
            "traceloop.association.properties.session_id": "s1",
            "traceloop.association.properties.user_id": "u1",
            "gen_ai.prompt.0.content": "secret",
            "gen_ai.completion.0.content": "secret",
        },
    ),
    "Gemini CLI": (
        "llm_call",
        {
            "gen_ai.operation.name": "llm_call",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.cached_tokens": 60,
            "gen_ai.usage.cache_write.input_tokens": 10,
            "gen_ai.usage.reasoning.output_tokens": 5,
            "gen_ai.conversation.id": "s1",
            "user.id": "u1",
            "gen_ai.input.messages": "secret",
        },
    ),
    "Claude Code": (
        "claude_code.llm_request",
        {
            "model": "gpt-4o",
            "input_tokens": 30,
            "output_tokens": 20,
            "cache_read_tokens": 60,
            "cache_creation_tokens": 10,
            "gen_ai.usage.reasoning.output_tokens": 5,
            "session.id": "s1",
            "user.id": "u1",
            "new_context": "secret",
        },
    ),
}


@pytest.mark.parametrize("family", SAME_CALL)
def test_every_family_says_the_same_of_one_model_call(family):
    """Kind, model, tokens by type, session and user come out under the same names, and nothing of the content."""
    name, attributes = SAME_CALL[family]
    kept = {key: value for key, value in normalise(name, attributes).items() if key != "openinference.span.kind"}
    assert kept == CALL


SAME_TOOL = {
    "official": (
        "execute_tool get_user",
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "get_user",
            "gen_ai.tool.call.id": "c1",
            "gen_ai.tool.call.arguments": '{"user_id": "mia_li_3668"}',
            "gen_ai.tool.call.result": "mia@example.com",
        },
    ),
    "OpenInference": (
        "get_user",
        {
            "openinference.span.kind": "TOOL",
            "tool.name": "get_user",
            "tool.id": "c1",
            "tool.parameters": '{"user_id":"mia_li_3668"}',
            "output.value": "mia@example.com",
        },
    ),
    "OpenLLMetry": (
        "get_user.tool",
        {
            "traceloop.span.kind": "tool",
            "traceloop.entity.name": "get_user",
            "gen_ai.tool.call.id": "c1",
            "traceloop.entity.input": '{"inputs": {"user_id": "mia_li_3668"}}',
            "traceloop.entity.output": "mia@example.com",
        },
    ),
    "Gemini CLI": (
        "tool_call",
        {
            "gen_ai.operation.name": "tool_call",
            "gen_ai.tool.name": "get_user",
            "gen_ai.tool.call.id": "c1",
            "gen_ai.tool.call.arguments": '{"user_id": "mia_li_3668"}',
            "output-json": "mia@example.com",
        },
    ),
}


def test_every_family_says_the_same_of_one_tool_call():
    """Name, id, digests, values, resource agree between the families; arguments and results are gone."""
    ours = (
        c.STEP_KIND,
        c.GEN_AI_OPERATION_NAME,
        c.GEN_AI_TOOL_NAME,
        c.GEN_AI_TOOL_CALL_ID,
        c.ARGUMENTS_DIGEST,
        c.RESULT_DIGEST,
        c.RESULT_TOKENS,
        c.DATAFLOW_INPUTS,
        c.DATAFLOW_OUTPUTS,
        c.DATAFLOW_TRUNCATED,
        c.TOOL_RESOURCE,
    )
    found = {family: normalise(*said) for family, said in SAME_TOOL.items()}
    first = {key: found["official"][key] for key in ours}
    for attributes in found.values():
        assert {key: attributes.get(key) for key in ours} == first
        assert "mia@example.com" not in str(attributes)


@pytest.mark.parametrize(
    ("name", "attributes", "kind"),
    [
        ("x", {"gen_ai.operation.name": "embeddings"}, "retrieval"),
        ("x", {"openinference.span.kind": "RETRIEVER"}, "retrieval"),
        ("x", {"gen_ai.operation.name": "plan"}, "thinking"),
        ("x", {"gen_ai.operation.name": "invoke_agent"}, None),
        ("x", {"openinference.span.kind": "AGENT"}, None),
        ("x", {"traceloop.span.kind": "workflow"}, None),
        ("x", {"traceloop.span.kind": "task"}, None),
        ("x", {"llm.request.type": "chat"}, "inference"),
        ("GET /", {"http.request.method": "GET"}, None),
        ("claude_code.interaction", {}, "command"),
        ("claude_code.tool", {"tool_name": "Read", "file_path": "/a"}, "tool"),
        ("claude_code.tool.execution", {"success": True}, "other"),
        ("claude_code.tool.blocked_on_user", {"decision": "accept"}, "other"),
        ("x", {"perfopt.step.kind": "module_load", "gen_ai.operation.name": "chat"}, "module_load"),
    ],
)
def test_kind(name, attributes, kind):
    """The kind follows operation, family's own kind or name; an agent's is left to what encloses it."""
    assert normalise(name, attributes).get(c.STEP_KIND) == kind


def test_a_claude_code_tool_tells_its_effects_and_resource():
    """Its own words are read on its own spans only."""
    found = normalise("claude_code.tool", {"tool_name": "Read", "file_path": "/a", "result_tokens": 7})
    assert (found[c.TOOL_EFFECTS], found[c.TOOL_RESOURCE], found[c.RESULT_TOKENS]) == ("read", "/a", 7)
    assert normalise("GET /", {"model": "T", "file_path": "/a"}) == {"model": "T", "file_path": "/a"}


def test_official_names_win_over_others():
    """Where a span says a thing twice, the official name's value counts."""
    found = normalise("x", {"llm.model_name": "other", "gen_ai.request.model": "official", "session.id": "s"})
    assert found[c.GEN_AI_REQUEST_MODEL] == "official"
    assert found[c.GEN_AI_CONVERSATION_ID] == "s"


def test_input_that_cannot_include_the_cache_is_corrected():
    """Cached tokens beyond the input prove that they were counted apart; otherwise input stays as said."""
    apart = {"gen_ai.usage.input_tokens": 3, "gen_ai.usage.cache_read.input_tokens": 90}
    inside = {"gen_ai.usage.input_tokens": 93, "gen_ai.usage.cache_read.input_tokens": 90}
    assert normalise("x", apart)[c.GEN_AI_USAGE_INPUT_TOKENS] == 93
    assert normalise("x", inside)[c.GEN_AI_USAGE_INPUT_TOKENS] == 93


def test_our_own_spans_lose_captured_content_too():
    """What this package wrote is in its vocabulary already; content that a user let it capture is not kept."""
    said = {"perfopt.step.kind": "tool", "gen_ai.operation.name": "execute_tool", "perfopt.tool.arguments.digest": "d"}
    found = normalise("x", {**said, "gen_ai.tool.call.arguments": "{}"}, c.INSTRUMENTATION_SCOPE)
    assert {key: found[key] for key in said} == said
    assert c.GEN_AI_TOOL_CALL_ARGUMENTS not in found


@pytest.mark.parametrize("value", [None, 3, "x", ("a",), 1.5, True])
def test_odd_values_do_no_harm(value):
    """Values of a wrong type are passed on or passed over."""
    names = ["gen_ai.operation.name", "gen_ai.usage.input_tokens", "gen_ai.usage.cache_read.input_tokens", "ttft_ms"]
    normalise(
        "claude_code.tool", dict.fromkeys([*names, "tool_name", "gen_ai.tool.call.arguments", "output.value"], value)
    )
