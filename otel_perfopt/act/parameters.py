"""What a policy may set on each optimization: a decision's `parameters` in, checked values out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.ASCII)
_LONGEST_DURATION_TEXT = 32

SCOPES = frozenset({"process", "user", "conversation", "tenant"})

# Globs over writing tools, each with globs over the reading tools it may touch.
Invalidates = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class ToolCacheParameters:
    """How `tool_cache` keeps results.

    `scope` is who may share a result: one conversation (the default), one user, the whole process, or
    `tenant` (the user where known, else the conversation). `version` is part of the key, for the
    day the tool changes. `max_wait_s` bounds how long a call waits for an equal one in flight before
    the tool's own durations are known.

    `invalidates` says which writes make results out of date. As a mapping, it narrows what a write
    touches, and a write that no glob names touches everything; as a list, it names all writes that
    count (`complete`), and they touch everything. Without it a call that may write touches everything of
    its own conversation, and of others what shares a value with its arguments.
    """

    ttl_s: float = 60.0
    scope: str = "conversation"
    version: str = ""
    max_entries: int = 1024
    max_bytes: int = 16 << 20
    max_wait_s: float = 2.0
    invalidates: Invalidates = ()
    complete: bool = False

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> ToolCacheParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        known = ("ttl", "ttl_s", "scope", "version", "max_entries", "max_bytes", "max_wait_s", "invalidates")
        _refuse_unknown(raw, known)
        default = cls()
        scope = str(raw.get("scope", default.scope))
        if scope not in SCOPES:
            raise ValueError(f"scope: {scope!r} is none of {', '.join(sorted(SCOPES))}")
        invalidates, complete = _invalidates(raw.get("invalidates", {}))
        return cls(
            ttl_s=_seconds(raw, "ttl_s", _seconds(raw, "ttl", default.ttl_s)),
            scope=scope,
            version=str(raw.get("version", default.version)),
            max_entries=_whole(raw, "max_entries", default.max_entries),
            max_bytes=_whole(raw, "max_bytes", default.max_bytes),
            max_wait_s=_seconds(raw, "max_wait_s", default.max_wait_s),
            invalidates=invalidates,
            complete=complete,
        )


@dataclass(frozen=True, slots=True)
class ParallelToolsParameters:
    """How `parallel_tools` starts calls early.

    `max_concurrency` bounds the calls of one reply that run early at once. `max_wait_s` bounds how
    long a call waits for its early twin before the tool's own durations are known; then it is made
    plainly. `invalidates` and `complete` are as in `ToolCacheParameters`: which writes make an early
    result unusable.
    """

    max_concurrency: int = 8
    max_wait_s: float = 2.0
    invalidates: Invalidates = ()
    complete: bool = False

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> ParallelToolsParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        _refuse_unknown(raw, ("max_concurrency", "max_wait_s", "invalidates"))
        default = cls()
        invalidates, complete = _invalidates(raw.get("invalidates", {}))
        return cls(
            max_concurrency=_whole(raw, "max_concurrency", default.max_concurrency),
            max_wait_s=_seconds(raw, "max_wait_s", default.max_wait_s),
            invalidates=invalidates,
            complete=complete,
        )


Parameters = ToolCacheParameters | ParallelToolsParameters

READERS: Mapping[str, Callable[[Mapping[str, object]], Parameters]] = {
    "tool_cache": ToolCacheParameters.read,
    "parallel_tools": ParallelToolsParameters.read,
}


def _refuse_unknown(raw: Mapping[str, object], known: tuple[str, ...]) -> None:
    unknown = sorted(set(raw) - set(known))
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}; known are {', '.join(known)}")


def _seconds(raw: Mapping[str, object], name: str, default: float) -> float:
    value = raw.get(name)
    if value is None:
        return default
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    else:
        text = str(value)
        if len(text) > _LONGEST_DURATION_TEXT or not _DURATION.fullmatch(text):
            raise ValueError(f"{name}: {text[:_LONGEST_DURATION_TEXT]!r} is no duration")
        seconds = sum(float(number) * _UNIT_S[unit] for number, unit in _DURATION_PART.findall(text))
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{name}: must be longer than nothing and finite")
    return seconds


def _whole(raw: Mapping[str, object], name: str, default: int) -> int:
    value = raw.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: must be a whole number of at least 1")
    return value


def _invalidates(raw: object) -> tuple[Invalidates, bool]:
    if isinstance(raw, Mapping):
        return tuple((str(write), _globs(reads)) for write, reads in raw.items()), False
    return tuple((write, ("*",)) for write in _globs(raw)), True


def _globs(raw: object) -> tuple[str, ...]:
    listed = [raw] if isinstance(raw, str) else raw
    if not isinstance(listed, (list, tuple)) or not all(isinstance(item, str) for item in listed):
        raise ValueError("invalidates: must be a list of globs, or map globs of writing tools to lists of globs")
    return tuple(listed)
