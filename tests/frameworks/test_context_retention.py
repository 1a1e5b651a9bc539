"""What shadow counts of a shorter context: what replies of real clients used of it, and what would have been kept."""

from __future__ import annotations

import json

import pytest

from tests.act.test_selective_parts import DOCUMENTATION
from tests.frameworks.conftest import Answer, json_answer
from tests.frameworks.governing import completion, decision

openai = pytest.importorskip("openai")

from otel_perfopt.signal.emit.spans import command  # noqa: E402 - only where the clients are installed

SELECT = {"min_chars": 50, "max_sections": 1}
SYSTEM = {"role": "system", "content": DOCUMENTATION}
ASKS = {"role": "user", "content": "My parcel has not arrived, when was it dispatched?"}
ROWS = [{"order": f"O-{number}", "note": f"left at door {number * 7919}", "town": "Leeds"} for number in range(40)]
ASKED = {"id": "call_1", "type": "function", "function": {"name": "orders", "arguments": "{}"}}
FOUND = {"role": "tool", "tool_call_id": "call_1", "content": json.dumps(ROWS, indent=2)}
DOOR = "Order O-20 was left at door 158380."
RESULTS = [ASKS, {"role": "assistant", "content": None, "tool_calls": [ASKED]}, FOUND]


def counted(spans, client, provider, messages, answer, *, turns=1, **more):
    """Return what the command's span says of one policy in shadow: marks used, and marks kept."""
    with command("/query", conversation_id="c1"):
        for _ in range(turns):
            provider.play(json_answer(completion(answer) if isinstance(answer, str) else answer))
            client.chat.completions.create(model="gpt-5", messages=messages, **more)
    (run,) = spans.of_kind("command")
    found = {name.rsplit(".", 1)[-1]: value for name, value in run.attributes.items() if ".shadow." in name}
    return found.get("used", 0), found.get("used_kept", 0)


def section(title):
    """Return the words of a section of the documentation, without its heading."""
    return DOCUMENTATION.split(f"## {title}\n")[1].split("\n## ")[0].strip()


def test_a_reply_from_the_section_that_would_have_come_keeps_all_it_used(provider, gpt, governed, spans):
    """The question brings the section which the reply quotes: nothing is lost, and the whole went out."""
    governed(decision("selective_context", SELECT, stage="shadow"))
    used, kept = counted(spans, gpt, provider, [SYSTEM, ASKS], section("Delivery times"), turns=2)
    assert used == kept > 0
    assert [body["messages"][0]["content"] for _, body in provider.requests] == [DOCUMENTATION] * 2
    assert not any("perfopt.context.saved_tokens" in span.attributes for span in spans.of_kind("inference"))


def test_a_reply_from_a_section_that_would_have_been_left_out_loses_it(provider, gpt, governed, spans):
    """What the reply quotes is in no section that the question brings."""
    governed(decision("selective_context", SELECT, stage="shadow"))
    used, kept = counted(spans, gpt, provider, [SYSTEM, ASKS], section("Warranty and repairs"))
    assert used > 0
    assert kept == 0


def test_what_the_reply_has_from_elsewhere_counts_for_nothing(provider, gpt, governed, spans):
    """A reply in its own words, or in the user's, says nothing of the sections."""
    governed(decision("selective_context", SELECT, stage="shadow"))
    assert counted(spans, gpt, provider, [SYSTEM, ASKS], f"You ask: {ASKS['content']}") == (0, 0)


def test_a_tool_that_is_called_is_used_by_that(provider, gpt, governed, spans):
    """A call of a tool that would not have been offered is a loss."""
    tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("orders", "other")]
    governed(decision("selective_context", {"drop_tools": ["orders"]}, stage="shadow"))
    asks = completion("", tool_calls=[ASKED])
    assert counted(spans, gpt, provider, [ASKS], asks, tools=tools) == (1, 0)


def test_where_only_tools_are_left_out_calls_of_the_others_are_evidence(provider, gpt, governed, spans):
    """A call of a tool that would still be offered shows that what is left out is not needed."""
    tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("orders", "other")]
    governed(decision("selective_context", {"drop_tools": ["other"], "under": []}, stage="shadow"))
    asks = completion("", tool_calls=[ASKED])
    assert counted(spans, gpt, provider, [ASKS], asks, tools=tools) == (1, 1)


def test_a_table_keeps_every_value(provider, gpt, governed, spans):
    """The same values in another layout are the same."""
    governed(decision("context_compression", stage="shadow"))
    used, kept = counted(spans, gpt, provider, RESULTS, DOOR, turns=2)
    assert used == kept > 0


def test_a_cut_loses_what_stood_in_the_middle(provider, gpt, governed, spans):
    """A value from between the beginning and the end would not have been there."""
    governed(decision("context_compression", {"max_chars": 600}, stage="shadow"))
    used, kept = counted(spans, gpt, provider, RESULTS, DOOR)
    assert used > kept


def test_a_stream_is_judged_when_it_has_been_read(provider, gpt, governed, spans):
    """The pieces of a streamed reply count together."""
    governed(decision("selective_context", SELECT, stage="shadow"))
    words = section("Warranty and repairs").split(" ")
    chunks = [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None} for word in words] + [
        {"index": 0, "delta": {}, "finish_reason": "stop"}
    ]
    head = {"id": "r1", "object": "chat.completion.chunk", "created": 0, "model": "gpt-5-1"}
    lines = [json.dumps({**head, "choices": [chunk]}) for chunk in chunks]
    events = [f"data: {line}\n\n".encode() for line in (*lines, "[DONE]")]
    provider.play(Answer(kind="text/event-stream", events=events))
    with command("/query", conversation_id="c1"):
        for _ in gpt.chat.completions.create(model="gpt-5", messages=[SYSTEM, ASKS], stream=True):
            pass
    (run,) = spans.of_kind("command")
    assert run.attributes["perfopt.policy.selective-context.shadow.used"] > 0
    assert "perfopt.policy.selective-context.shadow.used_kept" in run.attributes
