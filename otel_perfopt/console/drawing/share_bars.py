"""Parts of a whole: names and shares in, one bar each out, for a cell of a table that says the number too."""

from __future__ import annotations

from markupsafe import Markup

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.console.drawing.svg import box, element, line

_WIDTH, _HEIGHT = 100, 8


def share_bar(share: float | None, class_: str = "fill") -> Markup:
    """Return a bar filled to a share (0 to 1); silent, since the number stands beside it."""
    filled = min(1.0, max(0.0, share or 0.0)) * _WIDTH
    parts = [box(0, 0, _WIDTH, _HEIGHT, "track")]
    parts += [box(0, 0, filled, _HEIGHT, class_)] if filled else []
    return _silent(parts)


def interval_bar(interval: Interval, largest: float) -> Markup:
    """Return a bar to the estimate with its interval drawn over it."""
    scale = _WIDTH / largest if largest > 0 else 0.0

    def place(value: float) -> float:
        return min(_WIDTH, max(0.0, value * scale))

    middle = _HEIGHT / 2
    parts = [
        box(0, 0, _WIDTH, _HEIGHT, "track"),
        box(0, 0, place(interval.estimate), _HEIGHT, "fill"),
        line((place(interval.low), middle), (place(interval.high), middle), "whisker"),
    ]
    return _silent(parts)


def _silent(parts: list[Markup]) -> Markup:
    return element(
        "svg",
        *parts,
        class_="bar",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
