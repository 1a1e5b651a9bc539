"""What a model call asks, without its content: a client's keyword arguments in, attributes for its span out, made later."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from opentelemetry.trace import Span

from otel_perfopt import conventions as c
from otel_perfopt.signal.digest import content_digest
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.finisher import Describe, Finisher
from otel_perfopt.signal.emit.late_description import LARGE_BYTES
from otel_perfopt.signal.emit.sent_content import getter, sequence, text
from otel_perfopt.signal.emit.shorter_forms import instructions_saving
from otel_perfopt.signal.emit.snapshot import Snapshot, TooLargeError, take

CHARS_PER_TOKEN: Final = 4
MAX_TOOLS: Final = 128
_KNOWN_TOOLS: Final = 32
# What says how a request travels, not what it asks.
NOT_ASKED: Final = frozenset(
    {"extra_headers", "extra_query", "timeout", "metadata", "user", "safety_identifier", "prompt_cache_key"}
)
_INSTRUCTING: Final = frozenset({"system", "developer"})
# Made anew for each reply, so that two equal lines of calls and results differ in them alone.
_IDS: Final = frozenset({"id", "tool_call_id", "tool_use_id", "call_id"})
# How clients say that an argument was not given.
_UNSAID: Final = frozenset({"NotGiven", "Omit"})
_MESSAGES: Final = frozenset({"messages", "input"})


class RequestFacts:
    """One call's request, copied as it was when the call was made; at most 256 KiB of it.

    Streamed calls, and those the provider keeps something of, are answered by nobody else: they get no
    digest. Neither do requests that hold anything but plain data.
    """

    __slots__ = ("_asked", "_instructions", "_tools")

    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        self._asked = _copied(_asked(kwargs)) if _repeatable(kwargs) else None
        self._tools, self._instructions = _told(kwargs)

    def sent(self, kwargs: Mapping[str, Any]) -> None:
        """Take what was sent in place of what the agent gave: its tools and instructions count."""
        self._tools, self._instructions = _told(kwargs)

    def describing(self, finisher: Finisher | None) -> Describe | None:
        """Return what puts the facts on the call's span; None where there is nothing to say, or no room to say it."""
        size = sum(kept.size for kept in (self._asked, self._tools) if kept is not None)
        if not size and not self._instructions:
            return None
        large = finisher is not None and size > LARGE_BYTES
        if large and finisher is not None and not finisher.reserve_large():
            finisher.undescribed += 1
            return None

        def describe(span: Span) -> None:
            try:
                span.set_attributes(self.attributes())
            finally:
                if large and finisher is not None:
                    finisher.release_large()

        return describe

    def attributes(self) -> dict[str, Any]:
        """Return the digest, the tools offered and how much of the instructions is said twice; takes a while."""
        found: dict[str, Any] = {}
        tools = self._tools.packed if self._tools is not None else None
        if tools is not None:
            described = _described(tools)
            found[c.TOOLS_OFFERED] = len(described)
            found[c.TOOLS_OFFERED_TOKENS] = sum(tokens for _, tokens in described)
            found[c.TOOLS_DESCRIBED] = [f"{name}={tokens}" for name, tokens in described[:MAX_TOOLS]]
        if self._asked is not None:
            asked = _without_ids(self._asked.value(), {})
            found[c.REQUEST_DIGEST] = content_digest([asked, content_digest(tools or b"")])
        repeated = sum(instructions_saving(said) for said in self._instructions) // CHARS_PER_TOKEN
        return {**found, c.REPEATED_PROMPT_TOKENS: repeated} if repeated else found


def request_facts(kwargs: Mapping[str, Any]) -> RequestFacts | None:
    """Return what is to be said of a request later; never raises."""
    try:
        return RequestFacts(kwargs)
    except Exception as error:
        fault("request facts", error)
        return None


def _repeatable(kwargs: Mapping[str, Any]) -> bool:
    return kwargs.get("stream") is not True and "extra_body" not in kwargs and kwargs.get("store") is not True


def _asked(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in sorted(kwargs.items())
        if name not in NOT_ASKED and name != "tools" and type(value).__name__ not in _UNSAID
    }


def _told(kwargs: Mapping[str, Any]) -> tuple[Snapshot | None, tuple[str, ...]]:
    tools = kwargs.get("tools")
    return (_copied(tools) if sequence(tools) else None), tuple(_instructions(kwargs))


def _copied(value: Any) -> Snapshot | None:
    try:
        return take(value, plain=True)
    except (TooLargeError, TypeError, ValueError, RuntimeError, RecursionError):
        return None  # too large, or an odd value of the host: nothing is said of it


def _instructions(kwargs: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of instructions: they cannot change, so no copy is made."""
    for name in ("system", "instructions"):
        yield from _texts(kwargs.get(name))
    for name in _MESSAGES:
        for message in sequence(kwargs.get(name)):
            if type(message) is dict and message.get("role") in _INSTRUCTING:
                yield from _texts(message.get("content"))


def _texts(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    else:
        yield from (said for part in sequence(content) if (said := text(getter(part)("text"))))


def _without_ids(value: Any, numbers: dict[str, int]) -> Any:
    """Return a request in which ids of calls are numbers in order of appearance."""
    if type(value) is list or type(value) is tuple:
        return [_without_ids(item, numbers) for item in value]
    if type(value) is not dict:
        return value
    return {
        name: numbers.setdefault(held, len(numbers))
        if name in _IDS and type(held) is str
        else _without_ids(held, numbers)
        for name, held in value.items()
    }


@lru_cache(_KNOWN_TOOLS)
def _described(packed: bytes) -> tuple[tuple[str, int], ...]:
    """Return each tool's name and about how many tokens describe it; `packed` is the copy of the tools."""
    return tuple(
        (_tool_name(tool), -(-len(json.dumps(tool, ensure_ascii=False, default=repr)) // CHARS_PER_TOKEN))
        for tool in sequence(Snapshot(None, packed, len(packed)).value())
    )


def _tool_name(tool: object) -> str:
    get = getter(tool)
    return text(getter(get("function") or {})("name")) or text(get("name")) or text(get("type"))
