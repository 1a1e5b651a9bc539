"""One loosely typed parameter at a time: a mapping and a name in, a checked value out, or why it is none."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.ASCII)
_LONGEST_DURATION_TEXT = 32

SCOPES = frozenset({"process", "user", "conversation", "tenant"})


def refuse_unknown(raw: Mapping[str, object], known: tuple[str, ...]) -> None:
    """Refuse a name that the optimization does not have.

    Raises:
        ValueError: there is one.
    """
    unknown = sorted(set(raw) - set(known))
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}; known are {', '.join(known)}")


def seconds(raw: Mapping[str, object], name: str, default: float) -> float:
    """Read a duration: a number of seconds, or a text as `1h30m`.

    Raises:
        ValueError: it is none, or not longer than nothing.
    """
    value = raw.get(name)
    if value is None:
        return default
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        found = float(value)
    else:
        text = str(value)
        if len(text) > _LONGEST_DURATION_TEXT or not _DURATION.fullmatch(text):
            raise ValueError(f"{name}: {text[:_LONGEST_DURATION_TEXT]!r} is no duration")
        found = sum(float(number) * _UNIT_S[unit] for number, unit in _DURATION_PART.findall(text))
    if not 0 < found < float("inf"):
        raise ValueError(f"{name}: must be longer than nothing and finite")
    return found


def whole(raw: Mapping[str, object], name: str, default: int, least: int = 1) -> int:
    """Read a whole number of at least `least`.

    Raises:
        ValueError: it is none.
    """
    value = raw.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}: must be a whole number of at least {least}")
    return value


def number(raw: Mapping[str, object], name: str, default: float, least: float, most: float) -> float:
    """Read a number between `least` and `most`, both included.

    Raises:
        ValueError: it is none.
    """
    value = raw.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ValueError(f"{name}: must be a number from {least:g} to {most:g}")
    return float(value)


def switch(raw: Mapping[str, object], name: str, *, default: bool) -> bool:
    """Read a yes or no.

    Raises:
        ValueError: it is neither.
    """
    value = raw.get(name, default)
    if not isinstance(value, bool):
        raise ValueError(f"{name}: must be true or false")  # noqa: TRY004 - one kind of error for a bad parameter
    return value


def word(raw: Mapping[str, object], name: str, default: str, known: Collection[str]) -> str:
    """Read one of the words in `known`.

    Raises:
        ValueError: it is none of them.
    """
    value = str(raw.get(name, default))
    if value not in known:
        raise ValueError(f"{name}: {value!r} is none of {', '.join(sorted(known))}")
    return value


def texts(raw: Mapping[str, object], name: str) -> tuple[str, ...]:
    """Read a list of texts, or one text; nothing is an empty one.

    Raises:
        ValueError: it is neither.
    """
    value = raw.get(name)
    listed = () if value is None else (value,) if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not all(isinstance(item, str) for item in listed):
        raise ValueError(f"{name}: must be a text or a list of texts")
    return tuple(listed)
