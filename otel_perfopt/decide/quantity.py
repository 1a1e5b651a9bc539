"""Quantities as people write them (`5m`, `10%`, `5pp`) in, seconds, fractions and margins out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.ASCII)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%", re.ASCII)
_POINTS = re.compile(r"(\d+(?:\.\d+)?) ?pp", re.ASCII)
_LONGEST = 32


@dataclass(frozen=True, slots=True)
class Margin:
    """How much worse a metric may get: `value` is a share of the baseline, or of all units where `absolute`."""

    value: float
    absolute: bool = False

    def __str__(self) -> str:
        return f"{_number(self.value * 100)}{'pp' if self.absolute else '%'}"


def parse_duration(value: object) -> float:
    """Return the seconds in a duration such as `500ms`, `5m`, `1h30m` or `7d`.

    Raises:
        ValueError: it is no duration; a bare number has no unit and is refused too.
    """
    text = str(value)
    if isinstance(value, str) and len(text) <= _LONGEST and _DURATION.fullmatch(text):
        return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    raise ValueError(f"{text[:_LONGEST]!r} is no duration; write a number and a unit: 500ms, 30s, 5m, 24h or 7d")


def parse_percent(value: object) -> float:
    """Return the fraction in a percentage such as `10%`.

    Raises:
        ValueError: it is no percentage; a bare number could mean either and is refused too.
    """
    text = str(value)
    found = _PERCENT.fullmatch(text) if isinstance(value, str) and len(text) <= _LONGEST else None
    if found is None:
        raise ValueError(f"{text[:_LONGEST]!r} is no percentage; write it with its sign, such as 10%")
    return float(found.group(1)) / 100


def parse_margin(value: object) -> Margin:
    """Return the margin in `5%` (of the baseline) or `5pp` (percentage points).

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, Margin):
        return value
    text = str(value)
    found = _POINTS.fullmatch(text) if isinstance(value, str) and len(text) <= _LONGEST else None
    if found is not None:
        return Margin(float(found.group(1)) / 100, absolute=True)
    try:
        return Margin(parse_percent(value))
    except ValueError:
        raise ValueError(
            f"{text[:_LONGEST]!r} is no margin; write 5% of the baseline, or 5pp for percentage points"
        ) from None


def format_duration(seconds: float) -> str:
    """Return seconds as a person would write them: `90m`, not `5400.0`."""
    for unit in ("d", "h", "m", "s"):
        size = _UNIT_SECONDS[unit]
        if seconds >= size and seconds % size == 0:
            return f"{_number(seconds / size)}{unit}"
    return f"{_number(seconds * 1000)}ms"


def format_percent(fraction: float) -> str:
    """Return a fraction as a percentage: `0.05` is `5%`."""
    return f"{_number(fraction * 100)}%"


def _number(value: float) -> str:
    return f"{round(value, 6):f}".rstrip("0").rstrip(".")


def _positive_duration(value: object) -> float:
    seconds = parse_duration(value)
    if seconds <= 0:
        raise ValueError("must be longer than nothing")
    return seconds


def _share(value: object) -> float:
    fraction = parse_percent(value)
    if fraction > 1:
        raise ValueError(f"{value} is more than all of it; write at most 100%")
    return fraction


def _schema(pattern: str, example: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{pattern}$", "examples": [example]}


_DURATION_SCHEMA = _schema(r"(\d+(\.\d+)?(ms|[smhdw]))+", "5m")
_PERCENT_SCHEMA = _schema(r"\d+(\.\d+)? ?%", "10%")
_MARGIN_SCHEMA = _schema(r"\d+(\.\d+)? ?(%|pp)", "5%")

# In a model these hold seconds and fractions; only text with a unit gets in.
Duration = Annotated[float, BeforeValidator(_positive_duration), WithJsonSchema(_DURATION_SCHEMA)]
DurationOrZero = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
Percent = Annotated[float, BeforeValidator(parse_percent), WithJsonSchema(_PERCENT_SCHEMA)]
Share = Annotated[float, BeforeValidator(_share), WithJsonSchema(_PERCENT_SCHEMA)]
MarginText = Annotated[
    Margin,
    BeforeValidator(parse_margin),
    PlainSerializer(lambda margin: {"value": margin.value, "absolute": margin.absolute}, return_type=dict),
    WithJsonSchema(_MARGIN_SCHEMA),
]
