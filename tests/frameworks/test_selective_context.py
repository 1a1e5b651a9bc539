"""Reference sections on demand, as real clients send them."""

from __future__ import annotations

import copy
import itertools

import pytest

from tests.act.test_selective_parts import DOCUMENTATION
from tests.frameworks.conftest import json_answer
from tests.frameworks.governing import completion, decision
from tests.frameworks.test_anthropic_messages import message

anthropic = pytest.importorskip("anthropic")
openai = pytest.importorskip("openai")

from otel_perfopt.signal.emit.spans import command  # noqa: E402 - only where the clients are installed

SELECT = {"min_chars": 50, "max_sections": 1}
SYSTEM = {"role": "system", "content": DOCUMENTATION}
ASKS = {"role": "user", "content": "My parcel has not arrived, when was it dispatched?"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
FOUND = {"role": "tool", "tool_call_id": "call_1", "content": '{"results": [{"title": "Refund rules"}]}'}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("search", "x")]


def sent_of(client, provider, *histories, **more):
    begun = len(provider.requests)
    with command("/query", conversation_id="c1"):
        for messages in histories:
            before = copy.deepcopy(messages)
            provider.play(json_answer(completion()))
            client.chat.completions.create(model="gpt-5", messages=messages, **more)
            assert messages == before, "the agent's own messages were changed"
    return [body for _, body in provider.requests[begun:]]


def test_sections_come_when_they_are_asked_for_and_stay_where_they_came(provider, gpt, governed, spans):
    """The question brings its section, a result brings the one it names, and every prefix stays as it was sent."""
    governed(decision("selective_context", SELECT))
    one = [SYSTEM, ASKS]
    two = [*one, {"role": "assistant", "tool_calls": [CALL]}, FOUND]
    three = [*two, {"role": "assistant", "content": "Soon."}, {"role": "user", "content": "And the warranty?"}]
    sent = [body["messages"] for body in sent_of(gpt, provider, one, two, three)]
    for earlier, later in itertools.pairwise(sent):
        assert later[: len(earlier)] == earlier
    roles = [item["role"] for item in sent[-1]]
    assert roles == ["system", "user", "system", "assistant", "tool", "system", "assistant", "user", "system"]
    assert "four working days" not in sent[-1][0]["content"]
    given = [item["content"] for item in sent[-1] if item["role"] == "system"][1:]
    assert [text.split("\n")[0] for text in given] == [
        "## Delivery times",
        "## Refund rules",
        "## Warranty and repairs",
    ]
    assert spans.of_kind("inference")[0].attributes["perfopt.context.saved_tokens"] >= 0


def test_unused_tools_are_not_offered_and_used_ones_are(provider, gpt, governed):
    """A tool that the conversation called stays on offer; without the policy's word all do."""
    governed(decision("selective_context", {"drop_tools": ["search"]}))
    used = [ASKS, {"role": "assistant", "tool_calls": [CALL]}, FOUND]
    offered = [
        [tool["function"]["name"] for tool in body["tools"]]
        for body in sent_of(gpt, provider, [ASKS], used, tools=TOOLS)
    ]
    assert offered == [["x"], ["search", "x"]]


def test_old_turns_go_and_the_turn_under_way_stays(provider, gpt, governed):
    """The instructions stay first, and what goes is whole turns."""
    governed(decision("selective_context", {"max_history_chars": 400}))
    turns = [{"role": role, "content": f"{turn} " + "x" * 90} for turn in range(8) for role in ("user", "assistant")]
    (body,) = sent_of(gpt, provider, [{"role": "system", "content": "Be kind."}, *turns, ASKS])
    contents = [item["content"] for item in body["messages"]]
    assert contents[0] == "Be kind."
    assert contents[1].startswith("7 ")
    assert contents[-1] == ASKS["content"]


def test_messages_and_responses_get_theirs_too(provider, gpt, claude, governed):
    """Anthropic's come as blocks of the user's message, since roles must alternate there."""
    governed(decision("selective_context", SELECT))
    answer = {"id": "resp_1", "object": "response", "created_at": 0, "status": "completed", "model": "m", "output": []}
    more = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    provider.play(json_answer({**answer, **more}), json_answer(message({"type": "text", "text": "ok"})))
    with command("/query", conversation_id="c1"):
        gpt.responses.create(model="gpt-5", instructions=DOCUMENTATION, input=[ASKS])
        claude.messages.create(model="claude-test", max_tokens=9, system=DOCUMENTATION, messages=[ASKS])
    (_, first), (_, second) = provider.requests
    assert "four working days" not in first["instructions"]
    assert first["input"][1]["content"].startswith("## Delivery times")
    assert "four working days" not in second["system"]
    (only,) = second["messages"]
    assert [block["text"].split("\n")[0] for block in only["content"]] == [ASKS["content"], "## Delivery times"]


def test_instructions_that_save_nothing_are_sent_whole(provider, gpt, governed):
    """Without reference sections nothing changes."""
    governed(decision("selective_context", SELECT))
    plain = [{"role": "system", "content": "# Rules\n\n" + "Be kind. " * 300}, ASKS]
    (body,) = sent_of(gpt, provider, plain)
    assert body["messages"] == plain
