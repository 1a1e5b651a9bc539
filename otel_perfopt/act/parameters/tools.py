"""What optimizations of tool calls share: which writes make results out of date, and how long a call waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Globs over writing tools, each with globs over the reading tools it may touch.
Invalidates = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class ToolParameters:
    """What stands behind every optimization of tool calls.

    `max_wait_s` bounds how long a call waits for another's result before the tool's own durations
    are known.

    `invalidates` says which writes make results out of date. As a mapping, it narrows what a write
    touches, and a write that no glob names touches everything; as a list, it names all writes that
    count (`complete`), and they touch everything. Without it a call that may write touches everything of
    its own conversation, and of others what shares a value with its arguments.
    """

    max_wait_s: float = 2.0
    invalidates: Invalidates = ()
    complete: bool = False


def read_invalidates(raw: Mapping[str, object]) -> tuple[Invalidates, bool]:
    """Return `invalidates`, and whether it names all writes that count.

    Raises:
        ValueError: it is neither a list of globs nor a mapping to such lists.
    """
    found = raw.get("invalidates", {})
    if isinstance(found, Mapping):
        return tuple((str(write), _globs(reads)) for write, reads in found.items()), False
    return tuple((write, ("*",)) for write in _globs(found)), True


def _globs(raw: object) -> tuple[str, ...]:
    listed = [raw] if isinstance(raw, str) else raw
    if not isinstance(listed, (list, tuple)) or not all(isinstance(item, str) for item in listed):
        raise ValueError("invalidates: must be a list of globs, or map globs of writing tools to lists of globs")
    return tuple(listed)
