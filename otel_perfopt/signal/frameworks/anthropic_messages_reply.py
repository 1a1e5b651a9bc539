"""What the Messages API gives back, whole or as events: the client's objects in, a `ModelReply` without content out."""

from __future__ import annotations

from typing import Any

from otel_perfopt.signal.calls import ToolRequest
from otel_perfopt.signal.emit import tool_span
from otel_perfopt.signal.emit.model_calls import ModelReply
from otel_perfopt.signal.emit.sent_content import getter, mapping, text
from otel_perfopt.signal.emit.thinking_phases import ThinkingPhases
from otel_perfopt.signal.frameworks.anthropic_messages_request import CALLS, model_message
from otel_perfopt.signal.frameworks.openai_reply import parsed_arguments, reply_content

_THINKING = frozenset({"thinking", "redacted_thinking"})
_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")


def message_reply(message: Any) -> ModelReply | None:
    """Return what a `Message` says; None for anything else."""
    content = getattr(message, "content", None)
    if not isinstance(content, list):
        return None
    requests = tuple(_request(block, block.input) for block in content if block.type in CALLS)
    said = "".join(block.text for block in content if block.type == "text")
    reply = _reply(message, getattr(message, "stop_reason", None), _counts(getattr(message, "usage", None)), requests)
    reply.message = model_message(content)
    reply.said = said
    if tool_span.captures_content():
        reply.output_text = reply_content(said, requests)
    return reply


class MessageEvents:
    """A streamed message put together, event by event."""

    __slots__ = ("_blocks", "_counts", "_first_ns", "_message", "_parts", "_stop", "_stopped", "_thinking")

    def __init__(self) -> None:
        self._message: Any = None
        self._blocks: dict[int, Any] = {}
        self._parts: dict[int, list[str]] = {}
        self._counts: dict[str, int] = {}
        self._stop: str | None = None
        self._stopped = 0
        self._first_ns: int | None = None
        self._thinking = ThinkingPhases()

    def add(self, event: Any, now_ns: int) -> bool:
        """Take an event that arrived at `now_ns`; True when the tool calls are complete with it."""
        kind = text(getattr(event, "type", None))
        if kind == "message_start":
            self._message = event.message
            self._counts.update(_counts(event.message.usage))
        elif kind == "content_block_start":
            # The client writes into this object what comes later.
            self._blocks[event.index] = event.content_block
            begun = text(getter(event.content_block)("text"))
            self._parts[event.index] = [begun] if begun else []
            self._first_ns = self._first_ns or now_ns
            if event.content_block.type in _THINKING:
                self._thinking.seen(now_ns)
        elif kind == "content_block_delta":
            self._add_delta(event, now_ns)
        elif kind == "content_block_stop":
            self._thinking.over(now_ns)
            block = self._blocks.get(event.index)
            self._stopped += block is not None and block.type in CALLS
        elif kind == "message_delta":
            self._stop = event.delta.stop_reason or self._stop
            # Counts of this event are totals, and the last ones are right.
            self._counts.update(_counts(event.usage))
            return self._stop is not None and bool(self.requests())
        return False

    def requests(self) -> tuple[ToolRequest, ...]:
        """Return the tool calls asked for so far."""
        return tuple(
            _request(block, self._input(position, block))
            for position, block in sorted(self._blocks.items())
            if block.type in CALLS
        )

    def ready(self) -> int:
        """Return how many tool calls are complete: blocks come one after another."""
        return self._stopped

    def reply(self) -> ModelReply | None:
        """Return what has arrived; None when nothing has."""
        if self._message is None:
            return None
        # Without a reason to stop, a call may have been cut off in its arguments.
        requests = self.requests() if self._stop else ()
        reply = _reply(self._message, self._stop, self._counts, requests)
        reply.first_token_ns = self._first_ns
        reply.thinking_ns = self._thinking.phases()
        reply.message = model_message([self._written(position) for position in sorted(self._blocks)])
        said = (self._said(position) for position, block in sorted(self._blocks.items()) if block.type == "text")
        reply.said = "".join(said)
        if tool_span.captures_content():
            reply.output_text = reply_content(reply.said, requests)
        return reply

    def _add_delta(self, event: Any, now_ns: int) -> None:
        get = getter(event.delta)
        kind = text(get("type"))
        if kind in ("thinking_delta", "signature_delta"):
            self._thinking.seen(now_ns)
        part = text(get("text")) if kind == "text_delta" else text(get("partial_json"))
        if part:
            self._parts.setdefault(event.index, []).append(part)

    def _said(self, position: int) -> str:
        return "".join(self._parts.get(position, ()))

    def _input(self, position: int, block: Any) -> object:
        written = "".join(self._parts.get(position, ()))
        return parsed_arguments(written) if written else block.input

    def _written(self, position: int) -> dict[str, Any]:
        block = self._blocks[position]
        if block.type in CALLS:
            return {"type": block.type, "id": block.id, "name": block.name, "input": self._input(position, block)}
        return {"type": block.type, "text": self._said(position)}


def _request(block: Any, arguments: object) -> ToolRequest:
    return ToolRequest(text(block.id), text(block.name), mapping(arguments) if arguments is not None else None)


def _counts(usage: Any) -> dict[str, int]:
    counts = {name: getattr(usage, name, None) for name in _COUNTS}
    counts["thinking_tokens"] = getattr(getattr(usage, "output_tokens_details", None), "thinking_tokens", None)
    return {name: count for name, count in counts.items() if isinstance(count, int)}


def _reply(message: Any, stop: str | None, counts: dict[str, int], requests: tuple[ToolRequest, ...]) -> ModelReply:
    read, written = counts.get("cache_read_input_tokens"), counts.get("cache_creation_input_tokens")
    sent = counts.get("input_tokens")
    return ModelReply(
        response_id=getattr(message, "id", None),
        model=getattr(message, "model", None),
        finish_reasons=(stop,) if stop else (),
        # The API counts cached tokens apart; the conventions count them in.
        input_tokens=None if sent is None else sent + (read or 0) + (written or 0),
        output_tokens=counts.get("output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=counts.get("thinking_tokens"),
        requests=requests,
    )
