"""A chat in the form of OpenAI's messages in, the same conversation in the form of Anthropic's out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from replay_parts.recorded_turn import Conversation, Round, Said

Message = Mapping[str, Any]


def in_marked_form(conversation: Conversation) -> Conversation:
    """Return the conversation as it would be held with a provider that caches only what is marked."""
    turns = tuple(replace(turn, rounds=tuple(_round(round_) for round_ in turn.rounds)) for turn in conversation.turns)
    return replace(conversation, api="anthropic.messages", turns=turns)


def _round(round_: Round) -> Round:
    said = Said(in_blocks(round_.ask.said.messages), round_.ask.said.text)
    return replace(round_, ask=replace(round_.ask, said=said))


def in_blocks(messages: Sequence[Message]) -> list[Message]:
    """Return messages with tool calls and results as blocks; a system message stays where it is, at the beginning."""
    return [_message(message) for message in messages]


def _message(message: Message) -> Message:
    if message["role"] == "tool":
        block = {"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": message.get("content")}
        return {"role": "user", "content": [block]}
    calls = [_use(call) for call in message.get("tool_calls") or ()]
    if not calls:
        return {"role": message["role"], "content": message.get("content") or ""}
    text = [{"type": "text", "text": message["content"]}] if message.get("content") else []
    return {"role": message["role"], "content": [*text, *calls]}


def _use(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = function["arguments"]
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            arguments = {"text": arguments}
    return {"type": "tool_use", "id": call.get("id"), "name": function["name"], "input": arguments}
