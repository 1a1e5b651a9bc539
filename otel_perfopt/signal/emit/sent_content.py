"""What a model call sends or gets back, looked at without keeping it: messages' parts in, fingerprints and lengths out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from otel_perfopt.signal.emit.command_span import command_word

MAX_DEPTH = 16
# Where a cache may begin says nothing about what is sent, and moves from call to call.
_NO_CONTENT = frozenset({"cache_control"})


def getter(value: object) -> Callable[[str], Any]:
    """Return how a field is read from a dict or from a client's own object; None where there is none."""
    if isinstance(value, Mapping):
        return value.get
    return lambda name: getattr(value, name, None)


def text(value: object) -> str:
    """Return `value` where it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def mapping(value: object) -> Mapping[str, Any]:
    """Return `value` where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> list[Any] | tuple[Any, ...]:
    """Return `value` where it is a list or tuple, else an empty one: an iterator must not be used up."""
    return value if isinstance(value, (list, tuple)) else ()


def first_text(values: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """Return the first non-empty text among the named values."""
    return next((found for name in names if (found := text(values.get(name)))), "")


def command_in(content: object) -> str:
    """Return the leading `/word` of a user's text or of the first text part that has one."""
    if isinstance(content, str):
        return command_word(content)
    texts = (text(getter(part)("text")) for part in sequence(content))
    return next((word for part in texts if (word := command_word(part))), "")


def fingerprint(value: object, depth: int = MAX_DEPTH) -> int:
    """Return a number that is equal for equal content in this process."""
    # Text keeps its hash, so a history that is sent again and again is not read again and again.
    if value is None or value == "":
        return 0
    if isinstance(value, str):
        return hash(value)
    if depth and isinstance(value, (list, tuple)):
        return hash(tuple(fingerprint(item, depth - 1) for item in value))
    if depth and isinstance(value, Mapping):
        items = ((str(key), item) for key, item in value.items() if key not in _NO_CONTENT)
        return hash(frozenset((key, fingerprint(item, depth - 1)) for key, item in items))
    return hash(repr(value))


def length(value: object, depth: int = MAX_DEPTH) -> int:
    """Return how many characters of text there are."""
    if isinstance(value, str):
        return len(value)
    if depth and isinstance(value, (list, tuple)):
        return sum(length(item, depth - 1) for item in value)
    if depth and isinstance(value, Mapping):
        return sum(length(item, depth - 1) for item in value.values())
    return 0
