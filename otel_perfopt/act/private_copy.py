"""Results that can be kept and given out again: a result in, private copies of it out, or None where it has none."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass

MAX_PARTS = 20_000
_IMMUTABLE = frozenset({type(None), bool, int, float, complex, str, bytes})
# What is consumed or closed by using it cannot be given twice, nor from another thread.
_LIVE = ("__next__", "__await__", "__anext__", "__aiter__", "__enter__", "__aenter__")


@dataclass(frozen=True, slots=True)
class Kept:
    """A result put by: `size` in bytes (estimated), `immutable` when it may be given out as it is."""

    value: object
    size: int
    immutable: bool

    def give(self) -> object:
        """Return the result so that nobody else sees what is done to it."""
        return self.value if self.immutable else copy.deepcopy(self.value)


def is_live(value: object) -> bool:
    """Tell whether a result is an iterator, an awaitable or an open resource rather than data."""
    kind = type(value)
    return kind not in _IMMUTABLE and any(hasattr(kind, name) for name in _LIVE)


def keep(value: object, max_bytes: int) -> Kept | None:
    """Put a private copy of `value` by, or return None: too large, live, or not copyable."""
    if type(value) in _IMMUTABLE:
        size = sys.getsizeof(value)
        return Kept(value, size, immutable=True) if size <= max_bytes else None
    if is_live(value):
        return None
    measured = _size(value, max_bytes)
    if measured is None:
        return None
    try:
        return Kept(copy.deepcopy(value), measured, immutable=False)
    except Exception:
        # Locks, connections, generators deep inside: no copy, so nothing to keep.
        return None


def _size(value: object, max_bytes: int) -> int | None:
    size = 0
    parts = 0
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        parts += 1
        size += sys.getsizeof(part)
        if parts > MAX_PARTS or size > max_bytes:
            return None
        if type(part) in _IMMUTABLE:
            continue
        seen.add(id(part))
        waiting.extend(_parts(part))
    return size


def _parts(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    state = getattr(value, "__dict__", None)
    return [state] if isinstance(state, dict) and not isinstance(value, type) else []
