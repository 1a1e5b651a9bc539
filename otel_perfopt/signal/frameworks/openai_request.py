"""What a chat completion sends: the client's keyword arguments in, a `ModelRequest` without content out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from otel_perfopt import conventions as c
from otel_perfopt.signal.emit import tool_span
from otel_perfopt.signal.emit.conversations import SentMessage
from otel_perfopt.signal.emit.foreign_instrumentation import inside_foreign_call, instrumented
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

CONVERSATION_KEYS = ("session_id", "conversation_id", "thread_id", "chat_id", "gen_ai.conversation.id", "session.id")
USER_KEYS = ("user_id", "user.id")

# Modules of other instrumentations that make a span for each call of this client, and their classes.
_OTHERS = (
    ("opentelemetry.instrumentation.openai_v2", "OpenAIInstrumentor"),
    ("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor"),
    ("opentelemetry.instrumentation.openai", "OpenAIInstrumentor"),
    ("openinference.instrumentation.openai", "OpenAIInstrumentor"),
)
_NUMBERS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
}


def request_of(completions: object, kwargs: Mapping[str, Any]) -> ModelRequest:
    """Return what a call of `completions.create(**kwargs)` sends.

    The conversation is `metadata`'s session_id, conversation_id or thread_id, else `prompt_cache_key`;
    the user is `metadata`'s user_id, else `user` or `safety_identifier`.
    """
    body = kwargs.get("extra_body")
    extra: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    metadata = mapping(kwargs.get("metadata")) or mapping(extra.get("metadata"))
    messages = kwargs.get("messages")
    return ModelRequest(
        provider=openai_provider(completions),
        model=text(kwargs.get("model")),
        messages=tuple(sent_message(message) for message in sequence(messages)),
        tools=_tool_names(kwargs.get("tools")),
        conversation_id=first_text(metadata, CONVERSATION_KEYS)
        or first_text(extra, CONVERSATION_KEYS)
        or text(kwargs.get("prompt_cache_key")),
        user_id=first_text(metadata, USER_KEYS) or text(kwargs.get("user")) or text(kwargs.get("safety_identifier")),
        attributes=tuple(_attributes(completions, kwargs, messages)),
        traced=traced_by_another(),
    )


def sent_message(message: object) -> SentMessage:
    """Return a message (a dict, or the client's own object) without its content.

    Fingerprints are equal for equal messages in this process only. An assistant's message counts by
    its text and tool calls, so that one sent back by hand is recognised as the reply it was.
    """
    get = getter(message)
    role, content = text(get("role")), get("content")
    calls = [_call_identity(call) for call in get("tool_calls") or ()]
    call_id = text(get("tool_call_id"))
    whole = hash((role, fingerprint(content), call_id, tuple(calls)))
    ids = (call_id,) if call_id else tuple(identity[0] for identity in calls if identity[0])
    chars = length(content) + sum(len(part) for identity in calls for part in identity)
    return SentMessage(role, whole, chars, ids, command_in(content) if role == "user" else "")


def traced_by_another() -> bool:
    """Tell whether another instrumentation makes a span for this call: it says so, or its span is current."""
    return instrumented(_OTHERS) or inside_foreign_call()


def _attributes(completions: object, kwargs: Mapping[str, Any], messages: object) -> list[tuple[str, Any]]:
    attributes: list[tuple[str, Any]] = [
        (name, kwargs[key])
        for key, name in _NUMBERS.items()
        if isinstance(kwargs.get(key), (int, float)) and not (key == "n" and kwargs[key] == 1)
    ]
    return [*attributes, *call_attributes(completions, kwargs, list(sequence(messages)))]


def call_attributes(resource: object, kwargs: Mapping[str, Any], messages: object) -> list[tuple[str, Any]]:
    """Return what is said of any client's call: the server, whether it streams, and content where that is wanted."""
    attributes: list[tuple[str, Any]] = []
    host = getattr(getattr(client_of(resource), "base_url", None), "host", None)
    if isinstance(host, str):
        attributes.append((c.SERVER_ADDRESS, host))
    if kwargs.get("stream") is True:
        attributes.append(("gen_ai.request.stream", True))
    if tool_span.captures_content() and messages:
        content = json.dumps(messages, ensure_ascii=False, default=repr)
        attributes.append((c.GEN_AI_INPUT_MESSAGES, content[: tool_span.MAX_CONTENT_CHARS]))
    return attributes


def client_of(resource: object) -> object:
    """Return the client that a resource (`client.chat.completions`) belongs to."""
    return getattr(resource, "_client", None)


def openai_provider(resource: object) -> str:
    """Return the provider's name as the conventions have it."""
    return "azure.ai.openai" if "Azure" in type(client_of(resource)).__name__ else "openai"


def _tool_names(tools: object) -> tuple[str, ...]:
    functions = [getter(tool)("function") for tool in sequence(tools)]
    return tuple(name for function in functions if function is not None and (name := text(getter(function)("name"))))


def _call_identity(call: object) -> tuple[str, str, str]:
    get = getter(call)
    function = getter(get("function") or get("custom") or {})
    return text(get("id")), text(function("name")), text(function("arguments") or function("input"))
