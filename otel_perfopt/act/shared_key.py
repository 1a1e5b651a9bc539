"""What several processes call the same call, and results they can pass on: a call or result in, a text out."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from hashlib import blake2b
from math import isfinite
from pathlib import PurePath
from typing import Any, Final

from otel_perfopt.act.call_key import Identity, call_key
from otel_perfopt.signal.calls import ToolCall

MAX_PARTS: Final = 20_000
_LARGEST: Final = 1 << 63


def shared_key(call: ToolCall, *more: Hashable) -> str | None:
    """Return a digest equal in every process for equal calls of the same code; None where there is no such thing.

    `more` is what else must be equal. A function counts by module, qualified name and bytecode; one made
    inside another has variables of its own, and a method an object, so neither can be shared.
    """
    name = _name_of(call.function)
    found = call_key(call.function, call.args, call.kwargs) if name else None
    if not isinstance(found, tuple) or _has_identity(found[1]):
        return None
    text = json.dumps([name, repr(more), repr(found[1])])
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def to_text(result: object, most: int) -> str | None:
    """Return a result as JSON that reads back as exactly the same; None where there is none within `most` characters."""
    if not _is_plain(result):
        return None
    text = json.dumps(result, separators=(",", ":"))
    return text if len(text) <= most else None


def _name_of(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if code is None or not module or not name or "<" in name or code.co_freevars:
        return ""
    place = f"__main__ {PurePath(code.co_filename).name}" if module == "__main__" else module
    return f"{place}:{name}:{blake2b(code.co_code, digest_size=8).hexdigest()}"


def _has_identity(part: object) -> bool:
    waiting = [part]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Identity):
            return True
        if isinstance(item, tuple):
            waiting.extend(item)
    return False


def _is_plain(result: object) -> bool:
    waiting: list[Any] = [result]
    parts = 0
    while waiting:
        item = waiting.pop()
        kind, parts = type(item), parts + 1
        if parts > MAX_PARTS:
            return False
        if kind is dict:
            if any(type(key) is not str for key in item):
                return False
            waiting.extend(item.values())
        elif kind is list:
            waiting.extend(item)
        elif not (item is None or kind in (str, bool) or _is_plain_number(item)):
            return False
    return True


def _is_plain_number(item: object) -> bool:
    if type(item) is int:
        return -_LARGEST <= item < _LARGEST
    return type(item) is float and isfinite(item)
