"""The sequential interval of one metric: looks at growing numbers of units and the limit in, a drawing out."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.console.drawing.axis import Axis
from otel_perfopt.console.drawing.svg import area, drawing, line, path, text

_WIDTH, _HEIGHT = 640, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 22, 34
_MOST = 1.0


@dataclass(frozen=True, slots=True)
class IntervalPath:
    """One metric of a comparison over time: its interval after so many units, and what it is held against.

    `limit` is the change that a goal asks for or a guardrail tolerates; `absolute` says that changes are
    percentage points.
    """

    metric: str
    role: str
    limit: float | None
    absolute: bool
    looks: tuple[tuple[int, Interval], ...]


def interval_chart(found: IntervalPath) -> Markup | None:
    """Return the drawing; None before there is an interval."""
    if not found.looks:
        return None
    units = [units for units, _ in found.looks]
    across = Axis(0, max(units), _LEFT, _WIDTH - _RIGHT)
    up = Axis(*_range(found), _HEIGHT - _BOTTOM, _TOP)
    band = [(across.place(n), up.place(one.high)) for n, one in found.looks]
    band += [(across.place(n), up.place(one.low)) for n, one in reversed(found.looks)]
    middle = [(across.place(n), up.place(one.estimate)) for n, one in found.looks]
    parts = [*_grid(across, up, absolute=found.absolute), area(band, "band")]
    if len(middle) > 1:
        parts.append(path(middle, "estimate"))
    parts.append(line((_LEFT, up.place(0.0)), (_WIDTH - _RIGHT, up.place(0.0)), "zero"))
    if found.limit is not None:
        parts += _limit(found, up)
    return drawing((_WIDTH, _HEIGHT), f"{found.metric}, {found.role}", _said(found), parts, "interval")


def _range(found: IntervalPath) -> tuple[float, float]:
    """Return what is shown: the later intervals whole, the first ones as far as they fit."""
    late = found.looks[len(found.looks) // 3 :] or found.looks
    held = [0.0] if found.limit is None else [0.0, found.limit]
    low = max(-_MOST, min(*held, *(one.low for _, one in late), 0.0))
    high = min(_MOST, max(*held, *(one.high for _, one in late), 0.0))
    room = max(0.02, 0.12 * (high - low))
    return low - room, high + room


def _grid(across: Axis, up: Axis, *, absolute: bool) -> list[Markup]:
    unit = "pp" if absolute else "%"
    parts = []
    for value in up.ticks(4):
        y = up.place(value)
        parts += [
            line((_LEFT, y), (_WIDTH - _RIGHT, y), "grid"),
            text((_LEFT - 6, y + 4), f"{_signed(100 * value)} {unit}", anchor="end"),
        ]
    for value in across.ticks(5):
        parts.append(text((across.place(value), _HEIGHT - 16), f"{value:,.0f}", anchor="middle"))
    parts.append(text((_WIDTH - _RIGHT, _HEIGHT - 3), "units compared", anchor="end"))
    return parts


def _signed(value: float) -> str:
    return "0" if round(value) == 0 else f"{value:+.0f}".replace("-", "−")


def _limit(found: IntervalPath, up: Axis) -> list[Markup]:
    assert found.limit is not None
    y = up.place(found.limit)
    kind = "goal" if found.role == "goal" else "guard"
    word = "asked for" if found.role == "goal" else "tolerated"
    unit = "pp" if found.absolute else "%"
    # Above its line, unless that is the drawing's edge.
    place = y - 5 if y > _TOP + 14 else y + 14
    return [
        line((_LEFT, y), (_WIDTH - _RIGHT, y), f"limit {kind}"),
        text(
            (_WIDTH - _RIGHT, place),
            f"{word}: {100 * found.limit:+.1f} {unit}".replace("-", "−"),
            f"label {kind}",
            anchor="end",
        ),
    ]


def _said(found: IntervalPath) -> str:
    units, last = found.looks[-1]
    unit = "percentage points" if found.absolute else "%"
    now = f"After {units:,} units {100 * last.estimate:+.1f} {unit}, between {100 * last.low:+.1f} and {100 * last.high:+.1f}."
    limit = "" if found.limit is None else f" The line it is held against is {100 * found.limit:+.1f} {unit}."
    return f"The change of {found.metric} in treatment against baseline. {now}{limit} It may be looked at any time."
