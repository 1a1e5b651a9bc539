"""A panel's series in, a Vega-Lite chart of the panel's size out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dashboards.preview.result import Series, Window
from dashboards.preview.wording import COLOURS, mapped, shown

_FORMAT = {"percentunit": ".3~p", "short": "~s", "bytes": "~s", "currencyUSD": "$.3~g"}
_AXIS = {"labelFontSize": 10, "titleFontSize": 10, "gridColor": "#e6e9ed", "domain": False, "tickColor": "#c5cbd3"}
_LEGEND = {
    "orient": "bottom",
    "columns": 2,
    "title": None,
    "labelLimit": 240,
    "symbolType": "stroke",
    "labelFontSize": 10,
}


def chart(panel: Mapping[str, Any], series: Sequence[Series], window: Window) -> dict[str, Any] | None:
    """Return the chart; None where there is nothing to draw, or where the panel is no chart."""
    rows = list(_ROWS[panel["type"]](panel, series, window)) if panel["type"] in _ROWS else []
    return _SPECS[panel["type"]](panel, rows) if rows else None


def _line_rows(panel: Mapping[str, Any], series: Sequence[Series], window: Window) -> Iterator[dict[str, Any]]:  # noqa: ARG001 - one table of functions
    for one in series:
        for moment, value in one.points:
            if math.isfinite(number := float(value)):
                yield {"t": int(moment * 1000), "v": number, "name": one.name}


def _bar_rows(panel: Mapping[str, Any], series: Sequence[Series], window: Window) -> Iterator[dict[str, Any]]:  # noqa: ARG001 - as above
    unit = panel["fieldConfig"]["defaults"].get("unit", "short")
    for one in series:
        value = float(one.points[-1][1])
        yield {"name": one.name, "v": value, "text": shown(value, unit)}


def _state_rows(panel: Mapping[str, Any], series: Sequence[Series], window: Window) -> Iterator[dict[str, Any]]:
    mappings = panel["fieldConfig"]["defaults"]["mappings"]
    for one in series:
        for moment, value in one.points:
            text, colour = mapped(float(value), mappings) or (value, "text")
            until = (moment + window.step) * 1000
            yield {
                "t": int(moment * 1000),
                "until": int(until),
                "name": one.name,
                "text": text,
                "c": COLOURS.get(colour, colour),
            }


def _heat_rows(panel: Mapping[str, Any], series: Sequence[Series], window: Window) -> Iterator[dict[str, Any]]:  # noqa: ARG001 - as above
    for one in series:
        for moment, histogram in one.points:
            for _, low, high, count in histogram.get("buckets", ()):
                if float(low) > 0:
                    yield {"t": int(moment * 1000), "low": float(low), "high": float(high), "n": float(count),
                           "until": int((moment + window.step) * 1000)}  # fmt: skip


def _time(**more: Any) -> dict[str, Any]:
    return {
        "field": "t",
        "type": "temporal",
        "title": None,
        "axis": {**_AXIS, "format": "%H:%M:%S", "tickCount": 5},
        **more,
    }


def _value_axis(panel: Mapping[str, Any]) -> dict[str, Any]:
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults.get("custom", {})
    found: dict[str, Any] = {**_AXIS, "tickCount": 5}
    if defaults.get("unit") == "s":
        found["labelExpr"] = (
            "datum.value == 0 ? '0' : abs(datum.value) < 1 ? format(datum.value*1000, '.3~r') + ' ms' : datum.value < 120 ? format(datum.value, '.3~r') + ' s' : format(datum.value/60, '.3~r') + ' min'"
        )
    elif defaults.get("unit") in _FORMAT:
        found["format"] = _FORMAT[defaults["unit"]]
    return {
        "field": "v",
        "type": "quantitative",
        "title": None,
        "axis": found,
        "scale": {"zero": custom.get("axisSoftMin") == 0, "nice": True},
    }


def _lines(panel: Mapping[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    stacked = panel["fieldConfig"]["defaults"]["custom"].get("stacking", {}).get("mode") == "normal"
    mark = {"type": "area", "opacity": 0.6, "line": True} if stacked else {"type": "line", "strokeWidth": 1.8}
    return {
        "data": {"values": rows},
        "mark": mark,
        "encoding": {
            "x": _time(),
            "y": _value_axis(panel) | ({"stack": "zero"} if stacked else {}),
            "color": {"field": "name", "type": "nominal", "legend": _LEGEND},
        },
    }


def _bars(panel: Mapping[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    y = {"field": "name", "type": "nominal", "sort": "-x", "title": None, "axis": {**_AXIS, "labelLimit": 200}}
    x = _value_axis(panel)
    return {
        "data": {"values": rows},
        "encoding": {"x": x, "y": y},
        "layer": [
            {"mark": {"type": "bar", "color": "#5794f2"}},
            {
                "mark": {"type": "text", "align": "left", "dx": 4, "fontSize": 10},
                "encoding": {"text": {"field": "text"}},
            },
        ],
    }


def _states(panel: Mapping[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: ARG001 - one table of functions
    words = {row["text"]: row["c"] for row in rows}
    scale = {"domain": list(words), "range": list(words.values())}
    legend = {**_LEGEND, "symbolType": "square", "columns": 4}
    return {
        "data": {"values": rows},
        "mark": {"type": "bar", "height": {"band": 0.7}},
        "encoding": {
            "x": _time(),
            "x2": {"field": "until"},
            "y": {"field": "name", "type": "nominal", "title": None, "axis": {**_AXIS, "labelLimit": 190}},
            "color": {"field": "text", "type": "nominal", "scale": scale, "legend": legend},
        },
    }


def _heat(panel: Mapping[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: ARG001 - as above
    return {
        "data": {"values": rows},
        "mark": "rect",
        "encoding": {
            "x": _time(),
            "x2": {"field": "until"},
            "y": {
                "field": "low",
                "type": "quantitative",
                "title": None,
                "scale": {"type": "log"},
                "axis": {**_AXIS, "tickCount": 5},
            },
            "y2": {"field": "high"},
            "color": {"field": "n", "type": "quantitative", "scale": {"scheme": "oranges"}, "legend": None},
        },
    }


_ROWS = {"timeseries": _line_rows, "bargauge": _bar_rows, "state-timeline": _state_rows, "heatmap": _heat_rows}
_SPECS = {"timeseries": _lines, "bargauge": _bars, "state-timeline": _states, "heatmap": _heat}
