"""What a call of the Responses API sends: the client's keyword arguments in, a `ModelRequest` without content out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from otel_perfopt import conventions as c
from otel_perfopt.signal.emit.conversations import SentMessage
from otel_perfopt.signal.emit.model_calls import ModelRequest
from otel_perfopt.signal.emit.sent_content import (
    command_in,
    fingerprint,
    first_text,
    getter,
    length,
    mapping,
    sequence,
    text,
)
from otel_perfopt.signal.frameworks.openai_request import (
    CONVERSATION_KEYS,
    USER_KEYS,
    call_attributes,
    openai_provider,
    traced_by_another,
)

CALLS = frozenset({"function_call", "custom_tool_call"})
_ANSWERS = frozenset({"function_call_output", "custom_tool_call_output"})
_NUMBERS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "max_output_tokens": "gen_ai.request.max_tokens",
}


def response_request(responses: object, kwargs: Mapping[str, Any]) -> ModelRequest:
    """Return what a call of `responses.create(**kwargs)` sends.

    The conversation is `metadata`'s, else `conversation`, else `prompt_cache_key`, else the one that
    `previous_response_id` belongs to.
    """
    metadata = mapping(kwargs.get("metadata"))
    conversation = kwargs.get("conversation")
    return ModelRequest(
        provider=openai_provider(responses),
        model=text(kwargs.get("model")),
        messages=tuple(_messages(kwargs)),
        tools=tuple(_tool_names(kwargs.get("tools"))),
        conversation_id=first_text(metadata, CONVERSATION_KEYS)
        or text(conversation)
        or text(getter(conversation)("id"))
        or text(kwargs.get("prompt_cache_key")),
        user_id=first_text(metadata, USER_KEYS) or text(kwargs.get("user")) or text(kwargs.get("safety_identifier")),
        attributes=tuple(_attributes(responses, kwargs)),
        traced=traced_by_another(),
    )


def kept_response(response_id: str) -> SentMessage:
    """Return what `previous_response_id` stands for: all that was sent and answered so far."""
    return SentMessage("previous", hash(("previous response", response_id)))


def model_message(items: Iterable[object]) -> SentMessage:
    """Return what the model wrote, one message: its text and calls, without reasoning (which may be left out later)."""
    texts: list[str] = []
    calls: list[tuple[str, str, str]] = []
    for item in items:
        get = getter(item)
        if get("type") in CALLS:
            arguments = text(get("arguments")) or text(get("input"))
            calls.append((text(get("call_id")), text(get("name")), arguments))
        else:
            texts.extend(_texts(get("content")))
    said = "".join(texts)
    chars = len(said) + sum(len(part) for call in calls for part in call)
    return SentMessage("assistant", hash(("assistant", said, tuple(calls))), chars, tuple(call[0] for call in calls))


def _messages(kwargs: Mapping[str, Any]) -> Iterable[SentMessage]:
    if text(kwargs.get("previous_response_id")):
        yield kept_response(kwargs["previous_response_id"])
    instructions = kwargs.get("instructions")
    if isinstance(instructions, str):
        yield SentMessage("system", hash(("system", instructions)), len(instructions))
    sent = kwargs.get("input")
    if isinstance(sent, str):
        yield _message("user", sent)
        return
    written: list[object] = []  # what the model wrote in one reply: several items
    for item in sequence(sent):
        get = getter(item)
        kind = get("type")
        if kind in CALLS or kind == "reasoning" or get("role") == "assistant":
            written.append(item)
            continue
        if written:
            yield model_message(written)
            written = []
        yield _answer(get) if kind in _ANSWERS else _message(text(get("role")) or text(kind), get("content"))
    if written:
        yield model_message(written)


def _answer(get: Any) -> SentMessage:
    call_id, output = text(get("call_id")), get("output")
    return SentMessage("tool", hash(("tool", call_id, fingerprint(output))), length(output), (call_id,))


def _message(role: str, content: object) -> SentMessage:
    said = _texts(content)
    whole = fingerprint(said[0] if len(said) == 1 and len(sequence(content)) <= 1 else content)
    return SentMessage(role, hash((role, whole)), length(content), (), command_in(content) if role == "user" else "")


def _texts(content: object) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = (getter(part) for part in sequence(content))
    return [said for part in parts if (said := text(part("text")) or text(part("refusal")))]


def _tool_names(tools: object) -> Iterable[str]:
    for tool in sequence(tools):
        get = getter(tool)
        if get("type") in ("function", "custom") and text(get("name")):
            yield get("name")


def _attributes(responses: object, kwargs: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, name in _NUMBERS.items():
        if isinstance(kwargs.get(key), (int, float)):
            yield name, kwargs[key]
    effort = text(getter(kwargs.get("reasoning"))("effort"))
    if effort:
        yield c.GEN_AI_REQUEST_REASONING_LEVEL, effort
    yield from call_attributes(responses, kwargs, kwargs.get("input"))
