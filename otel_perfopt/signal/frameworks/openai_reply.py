"""What a chat completion gives back, whole or streamed: the client's objects in, a `ModelReply` without content out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otel_perfopt.signal.calls import ToolRequest
from otel_perfopt.signal.emit import tool_span
from otel_perfopt.signal.emit.model_calls import ModelReply
from otel_perfopt.signal.emit.sent_content import text
from otel_perfopt.signal.frameworks.openai_request import sent_message

# Servers that stream reasoning call it one or the other.
_REASONING = ("reasoning_content", "reasoning")


def reply_of(completion: Any) -> ModelReply | None:
    """Return what a `ChatCompletion` says; None for anything else."""
    choices = getattr(completion, "choices", None)
    if choices is None:
        return None
    reply = _common(completion)
    reply.finish_reasons = tuple(str(choice.finish_reason) for choice in choices if choice.finish_reason)
    if choices:
        message = choices[0].message
        reply.requests = tuple(_request(call) for call in message.tool_calls or () if getattr(call, "function", None))
        reply.message = sent_message(message)
        reply.said = text(message.content)
        if tool_span.captures_content():
            reply.output_text = reply_content(message.content, reply.requests)
    return reply


@dataclass(slots=True)
class _PartialCall:
    call_id: str = ""
    name: str = ""
    arguments: str = ""


class ChatStream:
    """A streamed completion put together, chunk by chunk."""

    __slots__ = ("_calls", "_finish", "_first_ns", "_last_ns", "_latest", "_text", "_thinking", "_usage")

    def __init__(self) -> None:
        self._calls: dict[int, _PartialCall] = {}
        self._text: list[str] = []
        self._finish: dict[int, str] = {}
        self._latest: Any = None
        self._usage: Any = None
        self._first_ns: int | None = None
        self._last_ns = 0
        self._thinking: list[int] = []

    def add(self, chunk: Any, now_ns: int) -> bool:
        """Take a chunk that arrived at `now_ns`; True when the tool calls are complete with it."""
        self._latest = chunk
        self._last_ns = now_ns
        usage = getattr(chunk, "usage", None)
        if usage is not None:
            self._usage = usage
        complete = False
        for choice in getattr(chunk, "choices", None) or ():
            if choice.index == 0:
                self._add_delta(choice.delta, now_ns)
            if choice.finish_reason:
                self._finish[choice.index] = str(choice.finish_reason)
                complete = complete or (choice.index == 0 and bool(self._calls))
        return complete

    def requests(self) -> tuple[ToolRequest, ...]:
        """Return the tool calls asked for so far."""
        return tuple(
            ToolRequest(call.call_id, call.name, parsed_arguments(call.arguments))
            for _, call in sorted(self._calls.items())
        )

    def ready(self) -> int:
        """Return how many tool calls are complete: those before the one that is being written."""
        return max(0, len(self._calls) - 1)

    def reply(self) -> ModelReply | None:
        """Return what has arrived; None when nothing has."""
        if self._latest is None:
            return None
        reply = _common(self._latest, self._usage)
        reply.finish_reasons = tuple(reason for _, reason in sorted(self._finish.items()))
        reply.first_token_ns = self._first_ns
        if self._thinking:
            reply.thinking_ns = ((self._thinking[0], [*self._thinking, self._last_ns][1]),)
        if self._finish:
            reply.requests = self.requests()
        reply.message = sent_message(self._message())
        reply.said = "".join(self._text)
        if tool_span.captures_content():
            reply.output_text = reply_content(reply.said, reply.requests)
        return reply

    def _message(self) -> dict[str, Any]:
        calls = [
            {"id": call.call_id, "function": {"name": call.name, "arguments": call.arguments}}
            for _, call in sorted(self._calls.items())
        ]
        return {"role": "assistant", "content": "".join(self._text), "tool_calls": calls}

    def _add_delta(self, delta: Any, now_ns: int) -> None:
        reasoning = any(getattr(delta, name, None) for name in _REASONING)
        calls = getattr(delta, "tool_calls", None) or ()
        if (reasoning or delta.content or calls) and self._first_ns is None:
            self._first_ns = now_ns
        if (reasoning and not self._thinking) or ((delta.content or calls) and len(self._thinking) == 1):
            self._thinking.append(now_ns)
        if delta.content:
            self._text.append(delta.content)
        for part in calls:
            call = self._calls.setdefault(part.index, _PartialCall())
            call.call_id = call.call_id or part.id or ""
            if part.function is not None:
                call.name += part.function.name or ""
                call.arguments += part.function.arguments or ""


def parsed_arguments(text: str | None) -> Mapping[str, Any] | None:
    """Return a tool call's arguments, or None when they are no JSON object."""
    if not text:
        return {} if text == "" else None
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return arguments if isinstance(arguments, dict) else None


def _request(call: Any) -> ToolRequest:
    return ToolRequest(call.id or "", call.function.name, parsed_arguments(call.function.arguments))


def _common(source: Any, usage: Any = None) -> ModelReply:
    usage = usage if usage is not None else getattr(source, "usage", None)
    prompt = getattr(usage, "prompt_tokens_details", None)
    completion = getattr(usage, "completion_tokens_details", None)
    return ModelReply(
        response_id=getattr(source, "id", None),
        model=getattr(source, "model", None),
        input_tokens=getattr(usage, "prompt_tokens", None),
        output_tokens=getattr(usage, "completion_tokens", None),
        cache_read_tokens=getattr(prompt, "cached_tokens", None),
        cache_write_tokens=getattr(prompt, "cache_write_tokens", None),
        reasoning_tokens=getattr(completion, "reasoning_tokens", None),
    )


def reply_content(text: str | None, requests: tuple[ToolRequest, ...]) -> str:
    """Return a reply's content as the conventions write it, cut where it is too long."""
    parts: list[dict[str, Any]] = [{"type": "text", "content": text}] if text else []
    parts.extend(
        {"type": "tool_call", "id": request.call_id, "name": request.name, "arguments": request.arguments}
        for request in requests
    )
    return json.dumps([{"role": "assistant", "parts": parts}], ensure_ascii=False, default=repr)[
        : tool_span.MAX_CONTENT_CHARS
    ]
