"""A value of the host in, an immutable copy of it within a strict size out: what is digested later cannot have changed."""

from __future__ import annotations

import pickle
import time
import weakref
from typing import Any, Final

MAX_BYTES: Final = 1 << 18
SLOW_REPR_NS: Final = 2_000_000

# Passed on as they are: nobody can change them.
_IMMUTABLE: Final = frozenset((str, int, float, bool, bytes, complex, type(None)))
# Types whose `repr` took too long once; it is not asked for again.
_slow: weakref.WeakSet[type] = weakref.WeakSet()


class TooLargeError(Exception):
    """The value does not fit into the budget."""


class Opaque:
    """Stands for an object that is no plain data: all that is kept of it is its `repr`."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class Snapshot:
    """A value as it was when this was made; `value()` gives an equal one of plain data and `Opaque`s."""

    __slots__ = ("_kept", "_pickled", "size")

    def __init__(self, kept: Any, pickled: bytes | None, size: int) -> None:
        self._kept = kept
        self._pickled = pickled
        self.size = size

    @property
    def packed(self) -> bytes | None:
        """The copy as bytes, equal for equal structures built in the same order; None of what is kept as it is."""
        return self._pickled

    def value(self) -> Any:
        """Return the value; to be called off the request path."""
        # Only what `take` wrote in this process is read, and it writes builtins and `Opaque` alone.
        return self._kept if self._pickled is None else pickle.loads(self._pickled)  # noqa: S301


def take(value: Any, limit: int = MAX_BYTES, *, plain: bool = False) -> Snapshot:
    """Return a snapshot of `value`; no code of the host runs but the `repr` of objects that are no plain data.

    With `plain` not even that: such objects are refused.

    Text and bytes are kept by reference, whatever their length. Time is bounded by the limit: about
    0.3 µs for a text, 6 µs for 20 rows, under a millisecond where the limit is met.

    Raises:
        TooLargeError: a structure takes more than `limit` bytes, or a type's `repr` is known to be slow.
        TypeError: `plain`, and there is something else than plain data.
        Exception: whatever odd values cause (cycles, dictionaries changed meanwhile).
    """
    if type(value) in _IMMUTABLE:
        return Snapshot(value, None, len(value) if isinstance(value, (str, bytes)) else 0)
    buffer = _Bounded(limit)
    pickler = _PlainPickler(buffer, 5) if not plain else _PlainOnlyPickler(buffer, 5)
    # Without a memo: shared parts are written again as JSON would, and cycles are refused.
    pickler.fast = True
    pickler.dump(value)
    pickled = b"".join(buffer.parts)
    return Snapshot(None, pickled, len(pickled))


class _Bounded:
    """What a pickler writes to: parts up to `left` bytes."""

    __slots__ = ("left", "parts")

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.parts: list[bytes] = []

    def write(self, data: Any) -> int:
        """Keep one part.

        Raises:
            TooLargeError: no room is left.
        """
        size = len(data)
        self.left -= size
        if self.left < 0:
            raise TooLargeError
        self.parts.append(bytes(data))
        return size


class _PlainPickler(pickle.Pickler):
    """Asked for everything that is not exactly a builtin value: subclasses become the builtin, the rest its `repr`."""

    def reducer_override(self, obj: Any) -> Any:
        """Return how to write `obj`."""
        if isinstance(obj, type) and obj in _OWN_TYPES:
            return NotImplemented
        for builtin in _BASES:
            if isinstance(obj, builtin):
                return builtin, (_plain(builtin, obj),)
        return Opaque, (_described(obj),)


class _PlainOnlyPickler(pickle.Pickler):
    """Asked for everything that is not exactly a builtin value, all of which it refuses."""

    def reducer_override(self, obj: Any) -> Any:
        """Refuse `obj`.

        Raises:
            TypeError: always.
        """
        raise TypeError(type(obj).__name__)


def _plain(builtin: Any, value: Any) -> Any:
    # The builtin's own way, not the subclass's: `str(member)` of an enumeration is its name.
    if builtin is str:
        return str.__str__(value)
    if builtin in (int, float):
        return builtin.__int__(value) if builtin is int else builtin.__float__(value)
    return dict(dict.items(value)) if builtin is dict else builtin(value)


def _described(value: object) -> str:
    kind = type(value)
    if kind in _slow:
        raise TooLargeError
    began = time.perf_counter_ns()
    try:
        text = repr(value)
    except Exception:  # the host's own type
        text = f"<{kind.__name__}>"
    if time.perf_counter_ns() - began > SLOW_REPR_NS:
        _slow.add(kind)
    return text


_BASES: Final[tuple[Any, ...]] = (str, int, float, dict, list, tuple, bytes)
_OWN_TYPES: Final = frozenset((Opaque, *_BASES))
