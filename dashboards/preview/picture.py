"""A dashboard and a Prometheus in, one SVG of the whole dashboard out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import vl_convert

from dashboards.preview.chart import chart
from dashboards.preview.result import Prometheus, Series, Window
from dashboards.preview.wording import COLOURS, mapped, shown

CELL_W, CELL_H, GAP, TOP = 62, 34, 8, 64
_PAD, _TITLE = 12, 30
_NOTHING = '<text x="50%" y="55%" text-anchor="middle" fill="#8a949e" font-size="13">no data</text>'
_SIZE = re.compile(r'<svg[^>]*?width="([\d.]+)" height="([\d.]+)"')


def picture(dashboard: Mapping[str, Any], prometheus: Prometheus, window: Window) -> str:
    """Return the picture: every panel where Grafana would put it, with what its queries return now."""
    parts = [_panel(panel, prometheus, window) for panel in dashboard["panels"]]
    height = TOP + max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"]) * CELL_H + GAP
    width = 24 * CELL_W + 2 * GAP
    head = (
        f'<text x="{GAP + 4}" y="30" font-size="20" font-weight="600" fill="#1f2933">{escape(dashboard["title"])}</text>'
        f'<text x="{GAP + 4}" y="50" font-size="12" fill="#5f6b76">{escape(dashboard["description"])}</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="#f4f5f7"/>{head}{"".join(parts)}</svg>'
    )


def _panel(panel: Mapping[str, Any], prometheus: Prometheus, window: Window) -> str:
    place = panel["gridPos"]
    x, y = GAP + place["x"] * CELL_W, TOP + place["y"] * CELL_H
    width, height = place["w"] * CELL_W - GAP, place["h"] * CELL_H - GAP
    if panel["type"] == "row":
        return f'<text x="{x + 4}" y="{y + 22}" font-size="15" font-weight="600" fill="#1f2933">{escape(panel["title"])}</text>'
    series = prometheus.panel(panel, window)
    inside = "".join(_inside(panel, series, window, width, height - _TITLE)) if series else _NOTHING
    return (
        f'<svg x="{x}" y="{y}" width="{width}" height="{height}"><rect width="100%" height="100%" rx="4" fill="#fff" '
        f'stroke="#e1e5e9"/><text x="{_PAD}" y="20" font-size="13" font-weight="500" fill="#1f2933">'
        f'{escape(panel["title"])}</text><svg y="{_TITLE}" width="{width}" height="{height - _TITLE}">{inside}</svg></svg>'
    )


def _inside(
    panel: Mapping[str, Any], series: Sequence[Series], window: Window, width: int, height: int
) -> Iterator[str]:
    if panel["type"] == "stat":
        yield from _stat(panel, series, width, height)
    elif panel["type"] == "table":
        yield from _table(panel, series, width)
    else:
        spec = chart(panel, series, window)
        yield _NOTHING if spec is None else _drawn(spec, width, height)


def _drawn(spec: Mapping[str, Any], width: int, height: int) -> str:
    sized = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        **spec,
        "width": width - 2 * _PAD,
        "height": height - _PAD,
        "autosize": {"type": "fit", "contains": "padding"},
        "background": None,
        "config": {"view": {"stroke": None}, "font": "sans-serif"},
    }
    found: str = vl_convert.vegalite_to_svg(sized)
    return f'<g transform="translate({_PAD},0)">{found}</g>'


def _stat(panel: Mapping[str, Any], series: Sequence[Series], width: int, height: int) -> Iterator[str]:
    defaults = panel["fieldConfig"]["defaults"]
    units = {
        override["matcher"]["options"]: one["value"]
        for override in panel["fieldConfig"]["overrides"]
        for one in override["properties"]
        if one["id"] == "unit"
    }
    single = len(panel["targets"]) == 1 and len(series) == 1
    step = height / max(1, len(series))
    for place, one in enumerate(series):
        value = float(one.points[-1][1])
        found = mapped(value, defaults.get("mappings", []))
        colour = found[1] if found else _threshold(value, defaults.get("thresholds", {}).get("steps", []))
        text = (
            found[0]
            if found
            else shown(value, units.get(one.name, defaults.get("unit", "short")), defaults.get("decimals"))
        )
        y = step * (place + 0.5)
        if single:
            yield _text(width / 2, y + 6, text, 26, COLOURS.get(colour, colour), "middle")
        else:
            yield _text(_PAD, y + 5, one.name, 13, "#5f6b76")
            yield _text(width - _PAD, y + 6, text, 18, COLOURS.get(colour, colour), "end")


def _threshold(value: float, steps: Sequence[Mapping[str, Any]]) -> str:
    found = "text"
    for step in steps:
        if step.get("value") is None or value >= step["value"]:
            found = step["color"]
    return found


def _table(panel: Mapping[str, Any], series: Sequence[Series], width: int) -> Iterator[str]:
    columns_of = next(one["options"] for one in panel["transformations"] if one["id"] == "organize")
    names, order = columns_of["renameByName"], columns_of["indexByName"]
    keys = sorted((name for name in names if not name.startswith("Value #")), key=order.__getitem__)
    columns = [target["refId"] for target in panel["targets"]]
    found: dict[str, dict[str, float]] = {}
    labels: dict[str, Mapping[str, str]] = {}
    for one in series:
        row = one.labels[keys[0]]
        found.setdefault(row, {})[one.query] = float(one.points[-1][1])
        labels[row] = {**one.labels, **labels.get(row, {})}
    styles = {
        override["matcher"]["options"]: {one["id"]: one["value"] for one in override["properties"]}
        for override in panel["fieldConfig"]["overrides"]
    }
    each = (width - 2 * _PAD) / (len(keys) + len(columns))
    titles = [names[key] for key in keys] + [names[f"Value #{letter}"] for letter in columns]
    for place, title in enumerate(titles):
        yield _text(_PAD + place * each, 14, title, 12, "#5f6b76")
    for line, row in enumerate(sorted(found), start=1):
        y = 14 + line * 26
        yield f'<line x1="{_PAD}" x2="{width - _PAD}" y1="{y - 18}" y2="{y - 18}" stroke="#e6e9ed"/>'
        for place, key in enumerate(keys):
            yield _text(_PAD + place * each, y, labels[row].get(key, ""), 13, "#1f2933")
        for place, letter in enumerate(columns, start=len(keys)):
            if letter in found[row]:
                text, colour = _cell(found[row][letter], styles.get(titles[place], {}))
                yield _text(_PAD + place * each, y, text, 13, colour)


def _cell(value: float, style: Mapping[str, Any]) -> tuple[str, str]:
    found = mapped(value, style.get("mappings", []))
    if found:
        return found[0], COLOURS.get(found[1], found[1])
    return shown(value, style.get("unit", "short"), style.get("decimals")), "#1f2933"


def _text(x: float, y: float, text: str, size: int, colour: str, anchor: str = "start") -> str:  # noqa: PLR0917 - a place and a style
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'
    )
