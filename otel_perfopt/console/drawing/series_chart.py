"""One series over time: its history in, a drawing with rhythm, trend and lasting changes marked out."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from markupsafe import Markup

from otel_perfopt.analyse.history import ChangePoint, History, Season, Trend
from otel_perfopt.console.drawing.axis import Axis
from otel_perfopt.console.drawing.svg import Point, drawing, line, path, text
from otel_perfopt.report.wording import count, moment, share

_WIDTH, _HEIGHT = 900, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 24, 30
_MOST_POINTS = 700
_DAY_S = 86_400.0


def series_chart(history: History) -> Markup | None:
    """Return the drawing; None where nothing was observed."""
    values = history.series.values
    known = [value for value in values if value is not None]
    if not known:
        return None
    across = Axis(0, max(1, len(values) - 1), _LEFT, _WIDTH - _RIGHT)
    up = Axis(min(0.0, *known), max(known) * 1.05 or 1.0, _HEIGHT - _BOTTOM, _TOP)
    parts = _grid(history, across, up)
    parts += [path(piece, "observed") for piece in _pieces(values, across, up)]
    changes = history.change_points if isinstance(history.change_points, tuple) else ()
    level = _level(history, changes)
    if isinstance(history.season, Season) and history.season.periods and len(history.season.seasonal) == len(values):
        rhythm = [
            None if base is None else base + season for base, season in zip(level, history.season.seasonal, strict=True)
        ]
        parts += [path(piece, "rhythm") for piece in _pieces(rhythm, across, up)]
    parts += [path(piece, "level") for piece in _pieces(level, across, up)]
    for change in changes:
        x = across.place(change.bin)
        parts += [
            line((x, _TOP), (x, _HEIGHT - _BOTTOM), "change"),
            text((x + 4, _TOP - 8), _size(change), "label change"),
        ]
    return drawing((_WIDTH, _HEIGHT), f"{history.name} over time", _said(history, changes), parts, "series")


def sparkline(values: Sequence[float | None], name: str) -> Markup | None:
    """Return a line without axes."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    across, up = Axis(0, len(values) - 1, 1, 119), Axis(min(known), max(known), 27, 3)
    said = f"From {count(known[0])} to {count(known[-1])}, between {count(min(known))} and {count(max(known))}."
    parts = [path(piece, "observed") for piece in _pieces(values, across, up)]
    return drawing((120, 30), name, said, parts, "spark")


def _pieces(values: Sequence[float | None], across: Axis, up: Axis) -> list[list[Point]]:
    """Return lines between gaps, of means where there are more values than pixels."""
    step = max(1, len(values) // _MOST_POINTS)
    pieces: list[list[Point]] = [[]]
    for begin in range(0, len(values), step):
        some = [value for value in values[begin : begin + step] if value is not None]
        if some:
            pieces[-1].append((across.place(begin), up.place(fmean(some))))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if len(piece) > 1]


def _level(history: History, changes: Sequence[ChangePoint]) -> list[float | None]:
    """Return the level beneath the rhythm: the steps between lasting changes, else the trend's line."""
    number = len(history.series.values)
    if changes:
        ends = [*(change.bin for change in changes), number]
        heights = [changes[0].before, *(change.after for change in changes)]
        starts = [0, *ends[:-1]]
        return [height for height, start, end in zip(heights, starts, ends, strict=True) for _ in range(end - start)]
    slope = (
        history.trend.slope_per_day.estimate if isinstance(history.trend, Trend) and history.trend.significant else 0.0
    )
    middle = median(value for value in history.series.values if value is not None)
    a_bin = slope * history.series.step_s / _DAY_S
    return [middle + a_bin * (place - number / 2) for place in range(number)]


def _grid(history: History, across: Axis, up: Axis) -> list[Markup]:
    parts = []
    for value in up.ticks(4):
        y = up.place(value)
        parts += [line((_LEFT, y), (_WIDTH - _RIGHT, y), "grid"), text((_LEFT - 6, y + 4), f"{value:g}", anchor="end")]
    for place in across.ticks(6):
        at_ns = history.series.start_ns + int(place * history.series.step_s * 1e9)
        parts.append(text((across.place(place), _HEIGHT - 10), moment(at_ns)[5:10], anchor="middle"))
    return parts


def _size(change: ChangePoint) -> str:
    return (
        f"{100 * change.relative.estimate:+.0f} %" if change.relative is not None else f"{change.shift.estimate:+.3g}"
    )


def _said(history: History, changes: Sequence[ChangePoint]) -> str:
    parts = [f"{len(history.series.values)} values, the last {_last(history)}."]
    if isinstance(history.season, Season) and history.season.periods:
        names = ", ".join(f"{period.name} (strength {period.strength:.2f})" for period in history.season.periods)
        parts.append(f"It repeats itself: {names}.")
    if isinstance(history.trend, Trend) and history.trend.significant and history.trend.relative_per_day is not None:
        parts.append(f"Its trend is {share(history.trend.relative_per_day.estimate)} a day.")
    parts += [f"It changed for good at {moment(change.time_ns)} UTC by {_size(change)}." for change in changes]
    return " ".join(parts)


def _last(history: History) -> str:
    value = next(value for value in reversed(history.series.values) if value is not None)
    return f"{value:.3g} {history.unit}".strip()
