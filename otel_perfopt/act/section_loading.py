"""Reference sections put where they are needed: a request's messages and an outline in, the messages to send out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import Any

from otel_perfopt.act.outline import Outline
from otel_perfopt.act.parameters.selective_context import SelectiveContextParameters
from otel_perfopt.signal.emit.sent_content import getter, sequence, text

MAX_OUTLINES = 64
_INSTRUCTING_ROLES = frozenset({"system", "developer"})

# The same instructions come with every request; taking them apart once is enough.
_outline = lru_cache(MAX_OUTLINES)(Outline)


@dataclass(frozen=True, slots=True)
class _Instructions:
    """Where a request's instructions stand, and what puts other ones there; `role` is who says them in messages."""

    text: str
    put: Callable[[str], dict[str, Any]]
    role: str = "system"


def with_sections(
    api: str, kwargs: Mapping[str, Any], field: str, messages: Sequence[Any], parameters: SelectiveContextParameters
) -> dict[str, Any]:
    """Return the arguments that send an outline and, in `field`, each section behind what first asks for it."""
    instructions = _instructions(api, kwargs, field, messages)
    if instructions is None:
        return {}
    outline = _outline(instructions.text, parameters)
    if not outline.left_out:
        return {}
    changes = instructions.put(outline.short)
    sent = list(changes.get(field, messages))
    given = _in_blocks if api == "anthropic.messages" else _as_messages
    changes[field] = list(given(sent, outline, instructions.role))
    return changes


def _instructions(api: str, kwargs: Mapping[str, Any], field: str, messages: Sequence[Any]) -> _Instructions | None:
    if api == "anthropic.messages":
        return _apart("system", kwargs.get("system"))
    if isinstance(kwargs.get("instructions"), str):
        return _apart("instructions", kwargs["instructions"])
    first = messages[0] if messages else None
    if not isinstance(first, Mapping) or first.get("role") not in _INSTRUCTING_ROLES:
        return None
    said = _apart("content", first.get("content"))
    if said is None:
        return None
    return _Instructions(said.text, lambda to: {field: [{**first, **said.put(to)}, *messages[1:]]}, first["role"])


def _apart(name: str, content: object) -> _Instructions | None:
    """Return a content that is one text, as such or as the only part, and what puts another in its place."""
    if isinstance(content, str):
        return _Instructions(content, lambda to: {name: to})
    parts = sequence(content)
    if len(parts) != 1 or not isinstance(parts[0], Mapping) or not isinstance(parts[0].get("text"), str):
        return None
    return _Instructions(parts[0]["text"], lambda to: {name: [{**parts[0], "text": to}]})


def _as_messages(messages: Sequence[Any], outline: Outline, role: str) -> Iterator[Any]:
    """Yield the messages, with one of its own for the sections that a user or a block of results asks for."""
    loaded: set[int] = set()
    needed: set[int] = set()
    for message, following in zip_longest(messages, messages[1:]):
        yield message
        needed.update(_needs(message, outline))
        if needed - loaded and not _is_result(following):
            yield {"role": role, "content": outline.given(sorted(needed - loaded))}
            loaded |= needed


def _in_blocks(messages: Sequence[Any], outline: Outline, role: str) -> Iterator[Any]:  # noqa: ARG001 - called alike
    """Yield the messages, a user's with one more block for the sections that it asks for."""
    loaded: set[int] = set()
    for message in messages:
        fresh = sorted(_needs(message, outline) - loaded)
        if not fresh or not isinstance(message, Mapping):
            yield message
            continue
        loaded.update(fresh)
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(sequence(content))
        yield {**message, "content": [*blocks, {"type": "text", "text": outline.given(fresh)}]}


def _needs(message: object, outline: Outline) -> set[int]:
    """Return the sections that a message of a user is about, and those that a result of a tool names."""
    get = getter(message)
    if get("role") == "user":
        return {
            index
            for kind, said in _texts(get("content"))
            for index in (outline.named_in(said) if kind == "tool_result" else outline.asked_for(said))
        }
    if _is_result(message):
        return {index for _, said in _texts(get("content") or get("output")) for index in outline.named_in(said)}
    return set()


def _is_result(message: object) -> bool:
    if message is None:
        return False
    get = getter(message)
    return bool(get("role") == "tool" or get("type") == "function_call_output")


def _texts(content: object) -> Iterator[tuple[str, str]]:
    """Yield the texts of a content, each with the kind of block it stands in."""
    if isinstance(content, str):
        yield "text", content
        return
    for part in sequence(content):
        get = getter(part)
        kind = text(get("type"))
        if isinstance(get("text"), str):
            yield kind, get("text")
        elif kind == "tool_result":
            yield from (("tool_result", said) for _, said in _texts(get("content")))
