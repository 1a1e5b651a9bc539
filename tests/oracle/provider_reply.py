"""What a provider's recorded reply says of itself: raw bytes in, model, tokens, finish and id out; shares no code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ReplyFacts:
    """None where the reply does not say. `first_output` is the output count that opens an Anthropic stream."""

    response_id: str
    model: str
    input: int | None
    output: int | None
    cache_read: int | None
    cache_write: int | None
    reasoning: int | None
    finish: tuple[str, ...]
    first_output: int = 0


def reply_facts(data: bytes) -> ReplyFacts:
    """Read a whole reply, a JSON document or a stream of server-sent events."""
    text = data.decode("utf-8", "replace")
    events = [text] if text.lstrip().startswith("{") else _events(text)
    parsed = [json.loads(event) for event in events if event and event != "[DONE]"]
    if parsed and parsed[0].get("type") == "message_start":
        return _anthropic_stream(parsed)
    if parsed and "response" in parsed[-1]:
        return _document(parsed[-1]["response"])
    if len(parsed) > 1 or (parsed and parsed[0].get("object") == "chat.completion.chunk"):
        return _chunks(parsed)
    return _document(parsed[0])


def _events(text: str) -> list[str]:
    return [line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith("data:")]


def _document(reply: dict[str, Any]) -> ReplyFacts:
    finish = tuple(choice["finish_reason"] for choice in reply.get("choices", ()) if choice.get("finish_reason"))
    if reply.get("stop_reason"):
        finish = (reply["stop_reason"],)
    elif reply.get("object") == "response":
        asked = any(item["type"] == "function_call" for item in reply["output"])
        finish = ("tool_call" if asked else reply["status"],)
    return _facts(reply.get("id") or "", reply["model"], reply.get("usage"), finish)


def _chunks(chunks: list[dict[str, Any]]) -> ReplyFacts:
    usage = next((chunk["usage"] for chunk in reversed(chunks) if chunk.get("usage")), None)
    finish = {
        choice.get("index", 0): choice["finish_reason"]
        for chunk in chunks
        for choice in chunk.get("choices", ())
        if choice.get("finish_reason")
    }
    named = [chunk for chunk in chunks if chunk.get("model")]
    return _facts(named[-1].get("id") or "", named[-1]["model"], usage, tuple(finish.values()))


def _anthropic_stream(events: list[dict[str, Any]]) -> ReplyFacts:
    message = events[0]["message"]
    usage = dict(message["usage"])
    finish: tuple[str, ...] = ()
    for event in events:
        if event["type"] == "message_delta":
            usage.update(event["usage"])
            finish = (event["delta"]["stop_reason"],)
    return _facts(message["id"], message["model"], usage, finish, message["usage"]["output_tokens"])


def _facts(
    response_id: str, model: str, usage: dict[str, Any] | None, finish: tuple[str, ...], first_output: int = 0
) -> ReplyFacts:
    usage = usage or {}
    details_in = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    details_out = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    read, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    given = usage.get("prompt_tokens", usage.get("input_tokens"))
    return ReplyFacts(
        response_id=response_id,
        model=model,
        input=None if given is None else given + (read or 0) + (written or 0),
        output=usage.get("completion_tokens", usage.get("output_tokens")),
        cache_read=details_in.get("cached_tokens", read),
        cache_write=details_in.get("cache_write_tokens", written),
        reasoning=details_out.get("reasoning_tokens", details_out.get("thinking_tokens")),
        finish=finish,
        first_output=first_output,
    )
