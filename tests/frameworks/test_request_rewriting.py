"""Rewritten requests as a real provider's client sends them."""

from __future__ import annotations

import copy

import pytest

from tests.frameworks.conftest import json_answer
from tests.frameworks.governing import HELLO, completion, decision
from tests.frameworks.test_anthropic_messages import message

anthropic = pytest.importorskip("anthropic")
openai = pytest.importorskip("openai")

from otel_perfopt.signal.emit.spans import command  # noqa: E402 - only where the clients are installed

LONG = "You answer questions about orders. " * 200
TOOLS = [{"name": name, "description": "reads", "input_schema": {"type": "object"}} for name in ("read", "write")]
CHAT_TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("read", "write")
]
MARK = {"type": "ephemeral"}


def ask_claude(client, **asked):
    before = copy.deepcopy(asked)
    with command("/query", conversation_id="c1"):
        client.messages.create(model="claude-test", max_tokens=9, **asked)
    assert asked == before, "the agent's own objects were changed"


def ask_gpt(client, **asked):
    before = copy.deepcopy(asked)
    with command("/query", conversation_id="c1"):
        reply = client.chat.completions.create(model="gpt-5", **asked)
    assert asked == before, "the agent's own objects were changed"
    return reply


def test_breakpoints_end_the_system_prompt_and_the_last_message(provider, claude, governed):
    """Both are marked once, the text stays, and what is too short to be kept is left alone."""
    governed(decision("prompt_cache"))
    provider.play(*[json_answer(message({"type": "text", "text": "ok"}))] * 2)
    ask_claude(claude, system=LONG, tools=TOOLS, messages=HELLO)
    ask_claude(claude, system="be good", tools=TOOLS, messages=HELLO)
    first, second = (body for _, body in provider.requests)
    assert first["system"] == [{"type": "text", "text": LONG, "cache_control": MARK}]
    assert first["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": MARK}]}
    ]
    assert "cache_control" not in str(first["tools"])
    assert "cache_control" not in str(second)


def test_an_agents_own_breakpoints_stay_the_only_ones(provider, claude, governed):
    """Where the agent marked anything, nothing is added."""
    governed(decision("prompt_cache"))
    provider.play(json_answer(message({"type": "text", "text": "ok"})))
    ask_claude(claude, system=[{"type": "text", "text": LONG, "cache_control": MARK}], messages=HELLO, tools=TOOLS)
    assert str(provider.requests[0][1]).count("cache_control") == 1


def test_what_begins_alike_shares_a_key_and_tools_keep_their_first_order(provider, gpt, governed):
    """The key follows model, instructions and tools, not the question; the agent's own key stays."""
    governed(decision("prompt_cache"))
    provider.play(*[json_answer(completion())] * 4)
    system = {"role": "system", "content": LONG}
    ask_gpt(gpt, messages=[system, *HELLO], tools=CHAT_TOOLS)
    ask_gpt(gpt, messages=[system, {"role": "user", "content": "other"}], tools=CHAT_TOOLS[::-1])
    ask_gpt(gpt, messages=[{"role": "system", "content": LONG + "!"}, *HELLO], tools=CHAT_TOOLS)
    ask_gpt(gpt, messages=[system, *HELLO], prompt_cache_key="mine")
    bodies = [body for _, body in provider.requests]
    keys = [body["prompt_cache_key"] for body in bodies]
    assert keys[0] == keys[1] != keys[2]
    assert keys[3] == "mine"
    assert [tool["function"]["name"] for tool in bodies[1]["tools"]] == ["read", "write"]


def test_another_model_answers_until_the_run_has_grown(provider, gpt, governed, spans):
    """The span says who was really asked; beyond the bound the agent's model answers, also when it shrinks again."""
    governed(decision("model_routing", {"model": "gpt-small", "max_context_chars": 20}))
    provider.play(*[json_answer(completion())] * 3)
    with command("/query", conversation_id="c1"):
        for words in ("short", "w" * 40, "short"):
            gpt.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": words}])
    assert [body["model"] for _, body in provider.requests] == ["gpt-small", "gpt-5", "gpt-5"]
    asked = [span.attributes["gen_ai.request.model"] for span in spans.of_kind("inference")]
    assert asked == ["gpt-small", "gpt-5", "gpt-5"]


def test_instructions_are_said_once(provider, gpt, claude, governed):
    """A paragraph said before goes from the system prompt; what the user repeats stays."""
    governed(decision("prompt_tidy", {"drop_sections": ["Changelog"]}))
    said = "Always check the order number before you answer."
    text = f"# Rules\n\n{said}\n\n# Notes\n\n{said}\n\n# Changelog\n\n2024: began.\n\n# End\n\nBe kind."
    tidy = f"# Rules\n\n{said}\n\n# End\n\nBe kind."
    user = {"role": "user", "content": f"{said}\n\n{said}"}
    provider.play(json_answer(completion()), json_answer(message({"type": "text", "text": "ok"})))
    ask_gpt(gpt, messages=[{"role": "system", "content": text}, user])
    ask_claude(claude, system=[{"type": "text", "text": text}], messages=[user])
    first, second = (body for _, body in provider.requests)
    assert first["messages"] == [{"role": "system", "content": tidy}, user]
    assert second["system"] == [{"type": "text", "text": tidy}]
    assert second["messages"] == [user]
