"""What a step says of a model call, and what the provider's own reply says: both as one table to compare."""

from __future__ import annotations

from typing import Any

from recorded_call import RecordedCall

from oracle.provider_reply import reply_facts
from otel_perfopt import conventions as c
from otel_perfopt.execution.model import Step

_FINISH = {
    "tool_calls": "tool_call", "tool_use": "tool_call", "function_call": "tool_call", "end_turn": "stop",
    "stop_sequence": "stop", "completed": "stop", "max_tokens": "length",
}  # fmt: skip


def truth(call: RecordedCall) -> dict[str, Any]:
    """Return what happened, from the request and the raw reply alone; a count nobody states is zero."""
    said = reply_facts(call.reply)
    return {
        "kind": "retrieval" if call.method == "embeddings.create" else "inference",
        "name": call.request["model"],
        "request model": call.request["model"],
        "response model": said.model,
        "response id": said.response_id,
        "input": said.input,
        "output": said.output,
        "cache read": said.cache_read or 0,
        "cache write": said.cache_write or 0,
        "reasoning": said.reasoning or 0,
        "finish": {_FINISH.get(reason, reason) for reason in said.finish},
        "streams": call.streams,
        "error": None,
    }


def seen(step: Step) -> dict[str, Any]:
    """Return what the step says under the same names."""
    said, tokens = step.attributes, step.tokens
    return {
        "kind": step.kind.value,
        "name": step.name,
        "request model": said.get(c.GEN_AI_REQUEST_MODEL),
        "response model": said.get(c.GEN_AI_RESPONSE_MODEL),
        "response id": said.get(c.GEN_AI_RESPONSE_ID, ""),
        "input": tokens.input,
        "output": tokens.output,
        "cache read": tokens.cache_read or 0,
        "cache write": tokens.cache_write or 0,
        "reasoning": tokens.reasoning or 0,
        "finish": set(said.get(c.GEN_AI_RESPONSE_FINISH_REASONS, ())),
        "streams": said.get(c.GEN_AI_REQUEST_STREAM) is True,
        "error": step.error_type,
    }
