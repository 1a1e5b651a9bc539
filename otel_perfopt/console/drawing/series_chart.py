"""One series over time: its history in, a drawing with rhythm, trend and lasting changes marked out."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from markupsafe import Markup

from otel_perfopt.analyse.history import ChangePoint, History, Season, Trend
from otel_perfopt.console.drawing.axis import Axis
from otel_perfopt.console.drawing.svg import Point, drawing, line, path, text
from otel_perfopt.report.wording import count, moment, seconds, share

_WIDTH, _HEIGHT = 900, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 28, 30
# Where a label of a change begins to reach over the edge, and how close to the last one it is left out.
_LABEL_TURNS, _LABEL_ROOM = 0.9, 54.0
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
    if isinstance(history.season, Season) and draws_rhythm(history):
        rhythm = [
            None if base is None else base + season for base, season in zip(level, history.season.seasonal, strict=True)
        ]
        parts += [path(piece, "rhythm") for piece in _pieces(rhythm, across, up)]
    parts += [path(piece, "level") for piece in _pieces(level, across, up)]
    parts += _changes(changes, across)
    return drawing((_WIDTH, _HEIGHT), f"{history.name} over time", _said(history, changes), parts, "series")


def draws_rhythm(history: History) -> bool:
    """Tell whether the drawing has a line of the series' rhythm."""
    season = history.season
    return isinstance(season, Season) and bool(season.periods) and len(season.seasonal) == len(history.series.values)


def draws_changes(history: History) -> bool:
    """Tell whether the drawing marks lasting changes."""
    return isinstance(history.change_points, tuple) and bool(history.change_points)


def last_text(history: History) -> str:
    """Return the newest value that was observed, in its unit."""
    return _text(_last(history), history.unit)


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
        parts += [
            line((_LEFT, y), (_WIDTH - _RIGHT, y), "grid"),
            text((_LEFT - 6, y + 4), _text(value, history.unit), anchor="end"),
        ]
    for place in across.ticks(6):
        at_ns = history.series.start_ns + int(place * history.series.step_s * 1e9)
        parts.append(text((across.place(place), _HEIGHT - 10), moment(at_ns)[5:10], anchor="middle"))
    return parts


def _changes(changes: Sequence[ChangePoint], across: Axis) -> list[Markup]:
    parts, last = [], -_LABEL_ROOM
    turns = _LEFT + _LABEL_TURNS * (_WIDTH - _LEFT)
    for change in changes:
        x = across.place(change.bin)
        parts.append(line((x, _TOP - 4), (x, _HEIGHT - _BOTTOM), "change"))
        if x - last >= _LABEL_ROOM:
            place, anchor = (x - 4, "end") if x > turns else (x + 4, "start")
            parts.append(text((place, _TOP - 9), _size(change), "label change", anchor))
            last = x
    return parts


def _text(value: float, unit: str) -> str:
    if value == 0:
        return "0"
    if unit == "s":
        return seconds(value)
    if unit == "1":
        return share(value)
    return count(value) if abs(value) >= 100 else f"{value:.3g}"


def _size(change: ChangePoint) -> str:
    size = (
        f"{100 * change.relative.estimate:+.0f} %" if change.relative is not None else f"{change.shift.estimate:+.3g}"
    )
    return size.replace("-", "−")


def _said(history: History, changes: Sequence[ChangePoint]) -> str:
    parts = [f"{len(history.series.values)} values, the last {last_text(history)}."]
    if isinstance(history.season, Season) and history.season.periods:
        names = ", ".join(f"{period.name} (strength {period.strength:.2f})" for period in history.season.periods)
        parts.append(f"It repeats itself: {names}.")
    if isinstance(history.trend, Trend) and history.trend.significant and history.trend.relative_per_day is not None:
        parts.append(f"Its trend is {share(history.trend.relative_per_day.estimate)} a day.")
    parts += [f"It changed for good at {moment(change.time_ns)} UTC by {_size(change)}." for change in changes]
    return " ".join(parts)


def _last(history: History) -> float:
    return next((value for value in reversed(history.series.values) if value is not None), 0.0)
