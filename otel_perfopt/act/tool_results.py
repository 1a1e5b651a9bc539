"""What tools have said inside a request to a model: keyword arguments in, each result's text out, and other texts put there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from otel_perfopt.signal.emit.sent_content import getter, sequence, text


@dataclass(frozen=True, slots=True)
class ToolResult:
    """One result as the model would read it; `place` is where it stands: message, and block inside it (-1: none)."""

    place: tuple[int, int]
    call_id: str
    tool: str
    text: str


def results_in(api: str, kwargs: Mapping[str, Any]) -> list[ToolResult]:
    """Return the results of tools that are one text, in the order in which the model reads them."""
    reader = _READERS.get(api)
    return [] if reader is None else list(reader(sequence(kwargs.get(_FIELD[api]))))


def with_texts(api: str, kwargs: Mapping[str, Any], texts: Mapping[tuple[int, int], str]) -> dict[str, Any]:
    """Return the keyword arguments that put `texts`, by place, where other results stand; all else is as it was."""
    field = _FIELD[api]
    messages = list(sequence(kwargs.get(field)))
    for (index, block), said in texts.items():
        message = messages[index]
        if block < 0:
            name = "output" if api == "openai.responses" else "content"
            messages[index] = {**message, name: _put(message.get(name), said)}
        else:
            blocks = list(message["content"])
            blocks[block] = {**blocks[block], "content": _put(blocks[block].get("content"), said)}
            messages[index] = {**message, "content": blocks}
    return {field: messages}


def _chat(messages: list[Any] | tuple[Any, ...]) -> Iterator[ToolResult]:
    tools: dict[str, str] = {}
    for index, message in enumerate(messages):
        get = getter(message)
        for asked in sequence(get("tool_calls")):
            call = getter(asked)
            tools[text(call("id"))] = text(getter(call("function") or {})("name"))
        if isinstance(message, Mapping) and message.get("role") == "tool":
            said = _only_text(message.get("content"))
            call_id = text(message.get("tool_call_id"))
            if said:
                yield ToolResult((index, -1), call_id, tools.get(call_id, ""), said)


def _responses(items: list[Any] | tuple[Any, ...]) -> Iterator[ToolResult]:
    tools: dict[str, str] = {}
    for index, item in enumerate(items):
        get = getter(item)
        call_id = text(get("call_id"))
        if get("type") == "function_call":
            tools[call_id] = text(get("name"))
        elif isinstance(item, Mapping) and item.get("type") == "function_call_output":
            said = _only_text(item.get("output"))
            if said:
                yield ToolResult((index, -1), call_id, tools.get(call_id, ""), said)


def _messages(messages: list[Any] | tuple[Any, ...]) -> Iterator[ToolResult]:
    tools: dict[str, str] = {}
    for index, message in enumerate(messages):
        get = getter(message)
        for place, block in enumerate(sequence(get("content"))):
            of = getter(block)
            if of("type") == "tool_use":
                tools[text(of("id"))] = text(of("name"))
            elif of("type") == "tool_result" and isinstance(message, Mapping) and isinstance(block, Mapping):
                said = _only_text(block.get("content"))
                call_id = text(block.get("tool_use_id"))
                if said:
                    yield ToolResult((index, place), call_id, tools.get(call_id, ""), said)


def _only_text(content: object) -> str:
    """Return content that is one text, as such or as a single part; empty for anything else."""
    if isinstance(content, str):
        return content
    parts = sequence(content)
    return text(getter(parts[0])("text")) if len(parts) == 1 and isinstance(parts[0], Mapping) else ""


def _put(content: object, said: str) -> Any:
    parts = sequence(content)
    return [{**parts[0], "text": said}] if parts else said


def offered_name(tool: object) -> str:
    """Return the name of a tool as a request offers it, whatever the API; empty for one without."""
    get = getter(tool)
    return text(get("name")) or text(getter(get("function") or {})("name"))


_FIELD = {"openai.chat": "messages", "openai.responses": "input", "anthropic.messages": "messages"}
_READERS = {"openai.chat": _chat, "openai.responses": _responses, "anthropic.messages": _messages}
