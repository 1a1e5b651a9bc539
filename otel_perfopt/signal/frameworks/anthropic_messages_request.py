"""What a call of the Messages API sends: the client's keyword arguments in, a `ModelRequest` without content out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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
from otel_perfopt.signal.frameworks.openai_request import CONVERSATION_KEYS, USER_KEYS, call_attributes, client_of

# Other instrumentations of this client. What the client itself traces (since 2.0) is no matter: see `foreign_span_started`.
_OTHERS = (
    ("opentelemetry.instrumentation.anthropic", "AnthropicInstrumentor"),
    ("opentelemetry.instrumentation.genai.anthropic", "AnthropicInstrumentor"),
    ("openinference.instrumentation.anthropic", "AnthropicInstrumentor"),
)
_PROVIDERS = (("Bedrock", "aws.bedrock"), ("Vertex", "gcp.vertex_ai"))
_NUMBERS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
}
# Thinking may be left out of what is sent later: it says nothing about which conversation it is.
_UNSAID = frozenset({"thinking", "redacted_thinking"})
CALLS = frozenset({"tool_use"})


def message_request(messages: object, kwargs: Mapping[str, Any]) -> ModelRequest:
    """Return what a call of `messages.create(**kwargs)` sends; the conversation is found by what is sent."""
    metadata = mapping(kwargs.get("metadata"))
    extra = mapping(kwargs.get("extra_body"))
    return ModelRequest(
        provider=_provider(messages),
        model=text(kwargs.get("model")),
        messages=tuple(_messages(kwargs)),
        tools=tuple(_tool_names(kwargs.get("tools"))),
        conversation_id=first_text(metadata, CONVERSATION_KEYS) or first_text(extra, CONVERSATION_KEYS),
        user_id=first_text(metadata, USER_KEYS),
        attributes=tuple(_attributes(messages, kwargs)),
        traced=instrumented(_OTHERS) or inside_foreign_call(),
    )


def model_message(blocks: object) -> SentMessage:
    """Return what the model wrote: its text and tool uses."""
    texts, calls = [], []
    for block in sequence(blocks):
        get = getter(block)
        if get("type") in CALLS:
            calls.append((text(get("id")), text(get("name")), fingerprint(get("input"))))
        elif get("type") not in _UNSAID:
            texts.append(text(get("text")))
    said = blocks if isinstance(blocks, str) else "".join(texts)
    whole = hash(("assistant", said, tuple(calls)))
    return SentMessage("assistant", whole, length(said) + length(blocks), tuple(call[0] for call in calls))


def _messages(kwargs: Mapping[str, Any]) -> Iterable[SentMessage]:
    system = kwargs.get("system")
    if isinstance(system, (str, list, tuple)):
        yield SentMessage("system", hash(("system", fingerprint(_single_text(system)))), length(system))
    for message in sequence(kwargs.get("messages")):
        get = getter(message)
        role, content = text(get("role")), get("content")
        if role == "assistant":
            yield model_message(content)
            continue
        results = tuple(
            text(getter(block)("tool_use_id"))
            for block in sequence(content)
            if getter(block)("type") == "tool_result" and getter(block)("tool_use_id")
        )
        whole = hash((role, fingerprint(_single_text(content))))
        # Results of tools come as the user's: here they are what the tools say.
        command = "" if results else command_in(content)
        yield SentMessage("tool" if results else role, whole, length(content), results, command)


def _single_text(content: object) -> object:
    """Return the text where content is just one text block: it is the same as the plain text."""
    if isinstance(content, (list, tuple)) and len(content) == 1 and getter(content[0])("type") == "text":
        return text(getter(content[0])("text"))
    return content


def _tool_names(tools: object) -> Iterable[str]:
    # What the provider runs itself (web search, code execution) has a dated type and no schema.
    for tool in sequence(tools):
        get = getter(tool)
        if text(get("name")) and get("type") in (None, "custom"):
            yield get("name")


def _provider(messages: object) -> str:
    client = type(client_of(messages)).__name__
    return next((provider for word, provider in _PROVIDERS if word in client), "anthropic")


def _attributes(messages: object, kwargs: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, name in _NUMBERS.items():
        if isinstance(kwargs.get(key), (int, float)):
            yield name, kwargs[key]
    yield from call_attributes(messages, kwargs, list(sequence(kwargs.get("messages"))))
