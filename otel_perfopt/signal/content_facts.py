"""A span's content in, the few facts out that its family puts nowhere else: models, streaming, ids, arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from otel_perfopt import conventions as c
from otel_perfopt.signal.dialect_table import EITHER_MODEL
from otel_perfopt.signal.record import Attributes, AttributeValue

# A reply longer than this is not taken apart; its id stands at its beginning.
MAX_REPLY_CHARS: Final = 1 << 16
_REPLY_ID: Final = re.compile(r'\{\s*"id"\s*:\s*"([\w.:-]{1,128})"')
_LANGCHAIN_MESSAGE: Final = ("generations", 0, 0, "message", "kwargs", "response_metadata")


def structure(value: object) -> Any:
    """Return what JSON text holds; anything else as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def arguments_in(value: object) -> Any:
    """Return a tool call's arguments without the envelope that LangChain and traceloop put them in."""
    said = structure(value)
    inner = said.get("inputs") if isinstance(said, Mapping) else None
    return inner if isinstance(inner, Mapping) else said


def result_in(value: object) -> tuple[Any, str]:
    """Return a tool's result without LangChain's message around it, and the call's id where that names it."""
    said = structure(value)
    inner = said.get("output", said) if isinstance(said, Mapping) else said
    for name in ("data", "kwargs"):
        message = inner.get(name) if isinstance(inner, Mapping) else None
        if isinstance(message, Mapping) and message.get("type") == "tool" and "content" in message:
            call_id = message.get("tool_call_id")
            return message["content"], call_id if isinstance(call_id, str) else ""
    return value, ""


def is_schema(value: object) -> bool:
    """Tell whether a structure describes a tool's parameters instead of being the arguments of a call."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("properties"), Mapping)
        and ("required" in value or value.get("type") == "object")
    )


def openinference_call(attributes: Attributes) -> dict[str, AttributeValue]:
    """Return what an OpenInference span of a model call says of models, streaming and the reply's id.

    Of one model's name only, it depends on the instrumentation whether it is the one asked for or the
    one that answered: the request's parameters name the former.
    """
    found: dict[str, AttributeValue] = {}
    asked = structure(attributes.get("llm.invocation_parameters"))
    asked = asked if isinstance(asked, Mapping) else {}
    named = attributes.get("llm.request.model_name") or asked.get("model")
    either = attributes.get(EITHER_MODEL)
    if isinstance(named, str) and named:
        found[c.GEN_AI_REQUEST_MODEL] = named
    elif isinstance(either, str):
        found[c.GEN_AI_REQUEST_MODEL] = either
    if asked.get("stream") is True:
        found[c.GEN_AI_REQUEST_STREAM] = True
    found.update(_reply(attributes.get("output.value")))
    if isinstance(either, str) and named and either != named:
        found.setdefault(c.GEN_AI_RESPONSE_MODEL, either)
    return found


def _reply(value: object) -> dict[str, AttributeValue]:
    if not isinstance(value, str):
        return {}
    if len(value) > MAX_REPLY_CHARS:
        start = _REPLY_ID.match(value)
        return {c.GEN_AI_RESPONSE_ID: start.group(1)} if start else {}
    said = structure(value)
    said = _at(said, _LANGCHAIN_MESSAGE) or said
    if not isinstance(said, Mapping):
        return {}
    texts = {
        c.GEN_AI_RESPONSE_ID: said.get("id"),
        c.GEN_AI_RESPONSE_MODEL: said.get("model", said.get("model_name")),
        c.GEN_AI_RESPONSE_FINISH_REASONS: _response_ended(said),
    }
    return {name: text for name, text in texts.items() if isinstance(text, str) and text}


def _response_ended(said: Mapping[str, Any]) -> object:
    """A reply of OpenAI's Responses API asks for tools by what it holds; its status says only that it is whole."""
    if said.get("object") != "response":
        return None
    held = said.get("output")
    asks = isinstance(held, list) and any(_at(item, ("type",)) == "function_call" for item in held)
    why = _at(said, ("incomplete_details", "reason"))
    return "tool_call" if asks else why or said.get("status")


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    try:
        for name in path:
            value = value[name]
    except (KeyError, IndexError, TypeError):
        return None
    return value
