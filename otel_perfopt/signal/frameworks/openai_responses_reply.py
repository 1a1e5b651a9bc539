"""What the Responses API gives back, whole or as events: the client's objects in, a `ModelReply` without content out."""

from __future__ import annotations

from typing import Any

from otel_perfopt.signal.calls import ToolRequest
from otel_perfopt.signal.emit import tool_span
from otel_perfopt.signal.emit.model_calls import ModelReply
from otel_perfopt.signal.emit.sent_content import getter, sequence, text
from otel_perfopt.signal.emit.thinking_phases import ThinkingPhases
from otel_perfopt.signal.frameworks.openai_reply import parsed_arguments, reply_content
from otel_perfopt.signal.frameworks.openai_responses_request import CALLS, kept_response, model_message

_FINISHED = frozenset({"response.completed", "response.incomplete", "response.failed"})
# An item of a reply that was cut short has no reason of its own in the conventions' words.
_REASONS = {"max_output_tokens": "length"}


def response_reply(response: Any) -> ModelReply | None:
    """Return what a `Response` says; None for anything else."""
    output = getattr(response, "output", None)
    if not isinstance(output, (list, tuple)):
        return None
    usage = getattr(response, "usage", None)
    sent, written = getattr(usage, "input_tokens_details", None), getattr(usage, "output_tokens_details", None)
    requests = tuple(_request(item) for item in output if getter(item)("type") in CALLS)
    reply = ModelReply(
        response_id=getattr(response, "id", None),
        model=getattr(response, "model", None),
        finish_reasons=_finish_reasons(response, requests),
        input_tokens=getattr(usage, "input_tokens", None),
        output_tokens=getattr(usage, "output_tokens", None),
        cache_read_tokens=getattr(sent, "cached_tokens", None),
        cache_write_tokens=getattr(sent, "cache_write_tokens", None),
        reasoning_tokens=getattr(written, "reasoning_tokens", None),
        requests=requests,
        message=model_message(output) if output else None,
    )
    if reply.response_id:
        reply.kept_as = kept_response(reply.response_id)
    parts = (part for item in output for part in sequence(getter(item)("content")))
    reply.said = "".join(text(getter(part)("text")) for part in parts)
    if tool_span.captures_content():
        reply.output_text = reply_content(reply.said, requests)
    return reply


class ResponseEvents:
    """A streamed response put together, event by event."""

    __slots__ = ("_first_ns", "_items", "_latest", "_thinking")

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._latest: Any = None
        self._first_ns: int | None = None
        self._thinking = ThinkingPhases()

    def add(self, event: Any, now_ns: int) -> bool:
        """Take an event that arrived at `now_ns`; True when the tool calls are complete with it."""
        kind = text(getattr(event, "type", None))
        response = getattr(event, "response", None)
        if response is not None:
            self._latest = response
        if kind == "response.output_item.done":
            self._items.append(event.item)
        if self._first_ns is None and (kind == "response.output_item.added" or kind.endswith(".delta")):
            self._first_ns = now_ns
        self._time(event, kind, now_ns)
        return kind in _FINISHED and bool(self.requests())

    def requests(self) -> tuple[ToolRequest, ...]:
        """Return the tool calls asked for so far."""
        return tuple(_request(item) for item in self._items if getter(item)("type") in CALLS)

    def ready(self) -> int:
        """Return how many tool calls are complete: all that have arrived."""
        return sum(getter(item)("type") in CALLS for item in self._items)

    def reply(self) -> ModelReply | None:
        """Return what has arrived; None when nothing has."""
        reply = response_reply(self._latest)
        if reply is not None:
            reply.first_token_ns = self._first_ns
            reply.thinking_ns = self._thinking.phases()
            if not reply.requests and text(getattr(self._latest, "status", None)) == "completed":
                # Some servers leave the items out of the last event.
                reply.requests = self.requests()
        return reply

    def _time(self, event: Any, kind: str, now_ns: int) -> None:
        """Time each item of reasoning from its first event to its last."""
        item = getattr(event, "item", None)
        if ".reasoning_" in kind or (kind.startswith("response.output_item") and getter(item)("type") == "reasoning"):
            self._thinking.seen(now_ns)
            if kind == "response.output_item.done":
                self._thinking.over(now_ns)
        elif kind == "response.output_item.added" or kind in _FINISHED:
            self._thinking.over(now_ns)


def _request(item: Any) -> ToolRequest:
    get = getter(item)
    arguments = None if get("type") == "custom_tool_call" else parsed_arguments(get("arguments"))
    return ToolRequest(text(get("call_id")), text(get("name")), arguments)


def _finish_reasons(response: Any, requests: tuple[ToolRequest, ...]) -> tuple[str, ...]:
    status = text(getattr(response, "status", None))
    if status == "completed":
        return ("tool_calls" if requests else "stop",)
    if status == "incomplete":
        reason = text(getter(getattr(response, "incomplete_details", None))("reason"))
        return (_REASONS.get(reason, reason or status),)
    return ("error",) if status == "failed" else ()
