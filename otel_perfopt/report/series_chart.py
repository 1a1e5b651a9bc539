"""One series over time as a chart: a `History` in, its values, rhythm, forecast, alarms and shifts drawn out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from otel_perfopt.analyse.history import Forecast, History, NotEnoughHistory, Regression
from otel_perfopt.report.charts import CRITICAL, KIND_COLOURS, chart
from otel_perfopt.report.section import Chart

_LINE = KIND_COLOURS["inference"]
_EXPECTED, _ALARM, _REGRESSION = "#2f9e44", "#e8590c", "#862e9c"
_HEIGHT = 190
# A year of hours drawn as it is would make a page of megabytes.
MOST_POINTS = 1500
_FORECAST_CYCLES_S = 3 * 86_400.0


def series_chart(item: History, regressions: Sequence[Regression] = ()) -> Chart | None:
    """Draw one series; None where it has no value."""
    values = list(_values(item))
    if not values:
        return None
    named, layers = ["the series"], [_line(values, item.unit.strip("{}") or item.name)]
    for words, layer in (
        ("green: what rhythm, line and shifts alone say", _rhythm(item)),
        ("band: forecast", _forecast(item.forecast)),
        ("dashed red: lasting shifts", _rules([point.time_ns for point in _points(item)], CRITICAL)),
        ("dashed violet: what became worse", _rules([one.time_ns for one in regressions], _REGRESSION)),
        ("orange dots: alarms", _alarms(item)),
    ):
        if layer:
            named.append(words)
            layers += layer
    description = (
        f"{item.name} over time (UTC); {', '.join(named[1:])}" if named[1:] else f"{item.name} over time (UTC)"
    )
    return chart(description, _HEIGHT, layer=layers)


def _time() -> dict[str, Any]:
    return {"x": {"field": "time", "type": "temporal", "scale": {"type": "utc"}, "title": None}}


def _values(item: History) -> Iterator[dict[str, float]]:
    """Yield the series' points in order; of a long one the mean of neighbours."""
    step_ms, start_ms = item.series.step_s * 1e3, item.series.start_ns / 1e6
    width = max(1, -(-len(item.series.values) // MOST_POINTS))
    for first in range(0, len(item.series.values), width):
        seen = [value for value in item.series.values[first : first + width] if value is not None]
        if seen:
            yield {"time": start_ms + first * step_ms, "value": sum(seen) / len(seen)}


def _line(values: list[dict[str, float]], title: str) -> dict[str, Any]:
    return {
        "data": {"values": values},
        "mark": {"type": "line", "color": _LINE, "strokeWidth": 1},
        "encoding": {**_time(), "y": {"field": "value", "type": "quantitative", "title": title}},
    }


def _rhythm(item: History) -> list[dict[str, Any]]:
    """Draw what rhythm, line and shifts alone say, where a rhythm was found."""
    season = item.season
    if isinstance(season, NotEnoughHistory) or not season.periods or not season.seasonal:
        return []
    points = [point for start, end in _stretches(item) for point in _expected(item, season.seasonal, start, end)]
    mark = {"type": "line", "color": _EXPECTED, "strokeWidth": 1.4, "opacity": 0.7}
    return [{"data": {"values": points}, "mark": mark, "encoding": {**_time(), "y": _y("expected")}}]


def _stretches(item: History) -> Iterator[tuple[int, int]]:
    """Yield the bins between lasting shifts."""
    yield from pairwise(sorted({0, len(item.series.values), *(point.bin for point in _points(item))}))


def _expected(item: History, seasonal: Sequence[float], start: int, end: int) -> Iterator[dict[str, float]]:
    """Yield rhythm plus line over one stretch, at the level that it has there."""
    end = min(end, len(seasonal))
    slope = 0.0 if isinstance(item.trend, NotEnoughHistory) else item.trend.slope_per_day.estimate
    a_bin = slope * item.series.step_s / 86_400
    centre = (start + end) / 2
    left = [
        value - seasonal[place] - a_bin * (place - centre)
        for place, value in enumerate(item.series.values[start:end], start)
        if value is not None
    ]
    if not left:
        return
    level, width = median(left), max(1, -(-len(item.series.values) // MOST_POINTS))
    for place in range(start, end, width):
        moment = item.series.start_ns / 1e6 + place * item.series.step_s * 1e3
        yield {"time": moment, "expected": level + seasonal[place] + a_bin * (place - centre)}


def _forecast(value: Forecast | NotEnoughHistory | None) -> list[dict[str, Any]]:
    if value is None or isinstance(value, NotEnoughHistory):
        return []
    bins = max(1, min(len(value.expected), round(_FORECAST_CYCLES_S / value.step_s)))
    points = [
        {
            "time": value.start_ns / 1e6 + index * value.step_s * 1e3,
            "expected": value.expected[index],
            "low": value.low[index],
            "high": value.high[index],
        }
        for index in range(bins)
    ]
    band = {"type": "area", "color": _EXPECTED, "opacity": 0.25}
    line = {"type": "line", "color": _EXPECTED, "strokeWidth": 1.4, "strokeDash": [2, 2]}
    return [
        {"data": {"values": points}, "mark": band, "encoding": {**_time(), "y": _y("low"), "y2": {"field": "high"}}},
        {"data": {"values": points}, "mark": line, "encoding": {**_time(), "y": _y("expected")}},
    ]


def _alarms(item: History) -> list[dict[str, Any]]:
    if isinstance(item.alarms, NotEnoughHistory) or not item.alarms:
        return []
    points = [{"time": alarm.start_ns / 1e6, "observed": alarm.observed} for alarm in item.alarms]
    mark = {"type": "point", "filled": True, "size": 50, "color": _ALARM, "opacity": 1}
    return [{"data": {"values": points}, "mark": mark, "encoding": {**_time(), "y": _y("observed")}}]


def _rules(moments_ns: Sequence[int], colour: str) -> list[dict[str, Any]]:
    if not moments_ns:
        return []
    points = [{"time": moment / 1e6} for moment in moments_ns]
    mark = {"type": "rule", "color": colour, "strokeDash": [4, 3]}
    return [{"data": {"values": points}, "mark": mark, "encoding": _time()}]


def _points(item: History) -> Sequence[Any]:
    return () if isinstance(item.change_points, NotEnoughHistory) else item.change_points


def _y(field: str) -> dict[str, Any]:
    return {"field": field, "type": "quantitative"}
