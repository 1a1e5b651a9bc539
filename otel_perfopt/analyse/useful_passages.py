"""How much of what is sent is used, where content can be seen: requests with their replies in, the useful share out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from otel_perfopt.signal.content_facts import structure
from otel_perfopt.signal.quoted import Mark, marks_of, texts_in

_PASSAGE_CHARS = 400  # longer lines of text are passages of their own, shorter ones join
_READ = ("system", "instructions", "messages", "input")
_ARGUMENTS = ("arguments", "input")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, as its keyword arguments, and what came back: the text, and the tool calls as (name, arguments)."""

    request: Mapping[str, Any]
    text: str
    calls: Sequence[tuple[str, object]] = ()


@dataclass(frozen=True, slots=True)
class PassageUse:
    """Characters sent in all requests of a conversation, and those that this reply or a later one demonstrably used.

    `repeated` stood in the same request a second time, word for word; `unused_tools` are descriptions of tools
    that were not called from then on.
    """

    sent: int
    useful: int
    repeated: int
    unused_tools: int

    @property
    def share(self) -> float | None:
        """Useful over sent; None where nothing was sent."""
        return self.useful / self.sent if self.sent else None


def passage_use(exchanges: Sequence[Exchange]) -> PassageUse:
    """Judge one conversation, its exchanges in order.

    A passage is a paragraph of text or one item of a structure. It is used by a reply that has one of its
    marks (a specific value, five words in a row) which no passage before it in that request has; a tool by
    being called. What is used is useful in every request up to the last reply that used it. An estimate
    by characters, and a low one: what is said in other words is not seen.
    """
    last_use: dict[str, int] = {}
    requests = [_passages(exchange.request) for exchange in exchanges]
    for number, exchange in enumerate(exchanges):
        said = marks_of((exchange.text, *(arguments for _, arguments in exchange.calls)))
        called = {name for name, _ in exchange.calls}
        for passage in dict.fromkeys(_used(requests[number], said, called)):
            last_use[passage.key] = number
    sent = useful = repeated = unused = 0
    for number, passages in enumerate(requests):
        seen: set[str] = set()
        for passage in passages:
            is_used = last_use.get(passage.key, -1) >= number
            sent += passage.chars
            if passage.key in seen:
                repeated += passage.chars
            elif is_used:
                useful += passage.chars
            elif passage.tool:
                unused += passage.chars
            seen.add(passage.key)
    return PassageUse(sent, useful, repeated, unused)


@dataclass(frozen=True, slots=True)
class _Passage:
    key: str
    chars: int
    marks: frozenset[Mark]
    tool: str = ""


def _used(passages: Iterable[_Passage], said: frozenset[Mark], called: set[str]) -> Iterator[_Passage]:
    left = set(said)
    for passage in passages:
        if passage.tool:
            if passage.tool in called:
                yield passage
            continue
        mine = passage.marks & left
        if mine:
            left -= mine
            yield passage


def _passages(request: Mapping[str, Any]) -> list[_Passage]:
    found = [_tool(tool) for tool in request.get("tools") or ()]
    for text in texts_in([_said(request.get(name)) for name in _READ]):
        found.extend(_split(text))
    return found


def _said(part: object) -> object:
    """Return a request's part without what only says what the rest is: roles, ids, kinds."""
    if isinstance(part, Mapping):
        return [
            _said(value) for name, value in part.items() if name not in ("role", "id", "type", "tool_call_id", "name")
        ]
    return [_said(item) for item in part] if isinstance(part, (list, tuple)) else part


def _tool(tool: Any) -> _Passage:
    text = json.dumps(tool, default=repr, sort_keys=True)
    name = tool.get("name") or (tool.get("function") or {}).get("name", "") if isinstance(tool, Mapping) else ""
    return _Passage(f"tool {text}", len(text), frozenset(), str(name))


@lru_cache(4096)
def _split(text: str) -> tuple[_Passage, ...]:
    held = structure(text)
    if isinstance(held, str):
        return tuple(_passage(part, part) for part in _paragraphs(held))
    parts = list(_items(held))
    # What the items' own texts do not hold, brackets and spaces, is shared among them.
    own = [len(json.dumps(part, ensure_ascii=False)) for part in parts]
    scale = len(text) / max(1, sum(own))
    return tuple(_passage(part, part, round(size * scale)) for part, size in zip(parts, own, strict=True))


def _passage(content: object, keyed: object, chars: int | None = None) -> _Passage:
    key = keyed if isinstance(keyed, str) else json.dumps(keyed, sort_keys=True, default=repr)
    return _Passage(key, len(key) if chars is None else chars, marks_of([content]))


def _items(held: Any) -> Iterator[object]:
    """Yield the items of a list, of a table's rows, or the fields of an object; what holds many is taken apart once more."""
    if isinstance(held, list):
        for item in held:
            yield from _items(item) if isinstance(item, list) and any(isinstance(x, dict) for x in item) else (item,)
    elif isinstance(held, dict):
        for name, value in held.items():
            if isinstance(value, list) and len(value) > 1:
                yield from value
            else:
                yield {name: value}
    else:
        yield held


def _paragraphs(text: str) -> Iterator[str]:
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        if lines and (not line.strip() or sum(map(len, lines)) + len(line) > _PASSAGE_CHARS):
            yield "".join(lines)
            lines = []
        lines.append(line)
    if lines:
        yield "".join(lines)
