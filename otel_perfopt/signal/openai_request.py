"""What a chat completion sends: the client's keyword arguments in, a `ModelRequest` without content out."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace

from otel_perfopt import conventions as c
from otel_perfopt.signal import tool_span
from otel_perfopt.signal.command_span import command_word
from otel_perfopt.signal.conversations import SentMessage
from otel_perfopt.signal.model_calls import ModelRequest

CONVERSATION_KEYS = ("session_id", "conversation_id", "thread_id", "chat_id", "gen_ai.conversation.id", "session.id")
USER_KEYS = ("user_id", "user.id")
MAX_DEPTH = 16

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
    metadata = _mapping(kwargs.get("metadata")) or _mapping(extra.get("metadata"))
    messages = kwargs.get("messages")
    return ModelRequest(
        provider=_provider(completions),
        model=_text(kwargs.get("model")),
        messages=tuple(sent_message(message) for message in messages) if isinstance(messages, (list, tuple)) else (),
        tools=_tool_names(kwargs.get("tools")),
        conversation_id=_first(metadata, CONVERSATION_KEYS)
        or _first(extra, CONVERSATION_KEYS)
        or _text(kwargs.get("prompt_cache_key")),
        user_id=_first(metadata, USER_KEYS) or _text(kwargs.get("user")) or _text(kwargs.get("safety_identifier")),
        attributes=tuple(_attributes(completions, kwargs, messages)),
        traced=traced_by_another(),
    )


def sent_message(message: object) -> SentMessage:
    """Return a message (a dict, or the client's own object) without its content.

    Fingerprints are equal for equal messages in this process only. An assistant's message counts by
    its text and tool calls, so that one sent back by hand is recognised as the reply it was.
    """
    get = _getter(message)
    role, content = _text(get("role")), get("content")
    calls = [_call_identity(call) for call in get("tool_calls") or ()]
    call_id = _text(get("tool_call_id"))
    fingerprint = hash((role, _fingerprint(content, MAX_DEPTH), call_id, tuple(calls)))
    ids = (call_id,) if call_id else tuple(identity[0] for identity in calls if identity[0])
    chars = _length(content, MAX_DEPTH) + sum(len(part) for identity in calls for part in identity)
    return SentMessage(role, fingerprint, chars, ids, _command(content) if role == "user" else "")


def traced_by_another() -> bool:
    """Tell whether another instrumentation makes a span for this call: it says so, or its span is current."""
    for module, name in _OTHERS:
        loaded = sys.modules.get(module)
        instance = getattr(getattr(loaded, name, None), "_instance", None) if loaded is not None else None
        if getattr(instance, "_is_instrumented_by_opentelemetry", False):
            return True
    attributes = getattr(trace.get_current_span(), "attributes", None) or {}
    return attributes.get(c.STEP_KIND) is None and (
        attributes.get(c.GEN_AI_OPERATION_NAME) == c.OPERATION_CHAT
        or attributes.get("openinference.span.kind") == "LLM"
    )


def _attributes(completions: object, kwargs: Mapping[str, Any], messages: object) -> list[tuple[str, Any]]:
    attributes: list[tuple[str, Any]] = [
        (name, kwargs[key])
        for key, name in _NUMBERS.items()
        if isinstance(kwargs.get(key), (int, float)) and not (key == "n" and kwargs[key] == 1)
    ]
    host = getattr(getattr(_client(completions), "base_url", None), "host", None)
    if isinstance(host, str):
        attributes.append((c.SERVER_ADDRESS, host))
    if kwargs.get("stream") is True:
        attributes.append(("gen_ai.request.stream", True))
    if tool_span.captures_content() and isinstance(messages, (list, tuple)):
        text = json.dumps(list(messages), ensure_ascii=False, default=repr)
        attributes.append((c.GEN_AI_INPUT_MESSAGES, text[: tool_span.MAX_CONTENT_CHARS]))
    return attributes


def _client(completions: object) -> object:
    return getattr(completions, "_client", None)


def _provider(completions: object) -> str:
    return "azure.ai.openai" if "Azure" in type(_client(completions)).__name__ else "openai"


def _tool_names(tools: object) -> tuple[str, ...]:
    if not isinstance(tools, (list, tuple)):
        return ()
    functions = [_getter(tool)("function") for tool in tools]
    return tuple(name for function in functions if function is not None and (name := _text(_getter(function)("name"))))


def _call_identity(call: object) -> tuple[str, str, str]:
    get = _getter(call)
    function = _getter(get("function") or get("custom") or {})
    return _text(get("id")), _text(function("name")), _text(function("arguments") or function("input"))


def _getter(value: object) -> Any:
    if isinstance(value, Mapping):
        return value.get
    return lambda name: getattr(value, name, None)


def _command(content: object) -> str:
    if isinstance(content, str):
        return command_word(content)
    parts = content if isinstance(content, (list, tuple)) else ()
    texts = (_text(_getter(part)("text")) for part in parts)
    return next((word for text in texts if (word := command_word(text))), "")


def _fingerprint(value: object, depth: int) -> int:
    # Text keeps its hash, so a history that is sent again and again is not read again and again.
    if value is None or value == "":
        return 0
    if isinstance(value, str):
        return hash(value)
    if depth and isinstance(value, (list, tuple)):
        return hash(tuple(_fingerprint(item, depth - 1) for item in value))
    if depth and isinstance(value, Mapping):
        return hash(frozenset((str(key), _fingerprint(item, depth - 1)) for key, item in value.items()))
    return hash(repr(value))


def _length(value: object, depth: int) -> int:
    if isinstance(value, str):
        return len(value)
    if depth and isinstance(value, (list, tuple)):
        return sum(_length(item, depth - 1) for item in value)
    if depth and isinstance(value, Mapping):
        return sum(_length(item, depth - 1) for item in value.values())
    return 0


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _first(values: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((text for name in names if (text := _text(values.get(name)))), "")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
