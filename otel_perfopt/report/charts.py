"""Charts as Vega-Lite specifications: parts of an `Analysis` in, `Chart`s out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from otel_perfopt.analyse.analysis import CombinedSaving, ContextPoint, Opportunity, TimeShare, Waterfall
from otel_perfopt.report.printable import printable
from otel_perfopt.report.section import Chart

_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
_WIDTH = 940
# One colour a kind of step in every chart; told apart also in print and by colour-blind readers.
KIND_COLOURS = {
    "inference": "#4269d0",
    "thinking": "#a463f2",
    "tool": "#efb118",
    "retrieval": "#9c6b4e",
    "module_load": "#97bbf5",
    "agent": "#9498a0",
    "command": "#9498a0",
    "person": "#c9cdd3",
    "other": "#bab0ab",
}
CRITICAL = "#d6336c"
MOST_BARS = 120
# Few ticks, each with the digits it needs: a saving of a thousandth must not read as 0 % ten times.
_SHARES = {"format": ".2~%", "tickCount": 8}


def chart(description: str, height: int | dict[str, int], **parts: Any) -> Chart:
    """Return a Vega-Lite chart of the report's width and style; `parts` are the rest of its specification."""
    specification = {
        "$schema": _SCHEMA,
        "description": description,
        "width": _WIDTH,
        "height": height,
        "background": "transparent",
        "config": {"view": {"stroke": None}, "axis": {"labelFontSize": 12, "titleFontSize": 12, "labelLimit": 320}},
        **parts,
    }
    return Chart(specification, description)


def _kinds(used: Sequence[str]) -> dict[str, Any]:
    names = [name for name in KIND_COLOURS if name in set(used)]
    return {"domain": names, "range": [KIND_COLOURS[name] for name in names]}


def time_shares(shares: Sequence[TimeShare]) -> Chart | None:
    """One bar of all run time, divided by what it was spent on along the critical path."""
    if not shares:
        return None
    values = [{"what": item.what, "share": item.share} for item in shares]
    return chart(
        "Run time by what it was spent on, along the critical path",
        46,
        data={"values": values},
        mark={"type": "bar", "stroke": "white"},
        encoding={
            "x": {"field": "share", "type": "quantitative", "stack": "zero", "axis": _SHARES, "title": None},
            "color": {
                "field": "what",
                "scale": _kinds([item.what for item in shares]),
                "legend": {"title": None, "orient": "top"},
            },
            "order": {"field": "share", "sort": "descending"},
        },
    )


def context_growth(points: Sequence[ContextPoint]) -> Chart | None:
    """Input tokens by number of the model call in its conversation: median and 10 to 90 % band."""
    if len(points) < 2:
        return None
    values = [{"call": item.call, "low": item.p10, "median": item.p50, "high": item.p90} for item in points]
    x = {
        "field": "call",
        "type": "quantitative",
        "title": "model call in the conversation",
        "axis": {"tickMinStep": 1, "format": "d"},
    }
    return chart(
        "Input tokens of each model call in its conversation: median, and the band from 10 to 90 %",
        220,
        data={"values": values},
        layer=[
            {
                "mark": {"type": "area", "opacity": 0.25, "color": KIND_COLOURS["inference"]},
                "encoding": {
                    "x": x,
                    "y": {"field": "low", "type": "quantitative", "title": "input tokens", "axis": {"format": "~s"}},
                    "y2": {"field": "high"},
                },
            },
            {
                "mark": {"type": "line", "color": KIND_COLOURS["inference"]},
                "encoding": {"x": x, "y": {"field": "median", "type": "quantitative"}},
            },
        ],
    )


def opportunities(items: Sequence[Opportunity]) -> Chart | None:
    """Each optimization's predicted saving with its interval, beside the most it could ever save."""
    values = [
        {
            "name": f"{item.optimization} · {item.target}" + (" (upper bound)" if item.upper_bound else ""),
            "estimate": item.share.estimate,
            "low": item.share.low,
            "high": item.share.high,
            "bound": item.bound_share,
        }
        for item in items
        if item.share is not None and item.metric == "latency"
    ]
    if not values:
        return None
    y = {"field": "name", "type": "nominal", "sort": None, "title": None}
    x = {"type": "quantitative", "axis": _SHARES, "title": "of all run time"}
    return chart(
        "Predicted saving of run time: bar and interval; the tick is the most that could be saved",
        {"step": 30},
        data={"values": values},
        layer=[
            {"mark": {"type": "bar", "color": "#6cc5b0"}, "encoding": {"y": y, "x": {"field": "estimate", **x}}},
            {"mark": {"type": "rule"}, "encoding": {"y": y, "x": {"field": "low", **x}, "x2": {"field": "high"}}},
            {
                "mark": {"type": "tick", "color": CRITICAL, "thickness": 2},
                "encoding": {"y": y, "x": {"field": "bound", **x}},
            },
        ],
    )


def combined(saving: CombinedSaving, words: str) -> Chart | None:
    """One bar of what all optimizations save together, divided by what each adds."""
    values = [
        {"part": f"{part.optimization} · {part.target}", "share": part.share.estimate, "place": place}
        for place, part in enumerate(saving.parts)
        if part.share.estimate > 0
    ]
    if len(values) < 2:
        return None
    return chart(
        f"What each adds to the saving of {words}",
        46,
        data={"values": values},
        mark={"type": "bar", "stroke": "white"},
        encoding={
            "x": {"field": "share", "type": "quantitative", "stack": "zero", "axis": _SHARES, "title": None},
            "color": {
                "field": "part",
                "type": "nominal",
                "sort": [str(value["part"]) for value in values],
                "scale": {"scheme": "tableau10"},
                "legend": {"title": None, "orient": "top", "columns": 4, "labelLimit": 260},
            },
            "order": {"field": "place", "sort": "ascending"},
        },
    )


def waterfall(run: Waterfall) -> Chart:
    """One run: a bar a step in order of start, with the stretches on the critical path underlined."""
    bars, critical = [], []
    for index, bar in enumerate(run.bars[:MOST_BARS]):
        name = f"{index:04d}"
        label = " " * 2 * bar.depth + bar.name + (" ✗" if bar.error_type else "")
        kind = "person" if bar.waiting else str(bar.kind)
        bars.append({"row": name, "label": label, "kind": kind, "start": bar.start_s, "end": bar.end_s})
        critical += [{"row": name, "start": start, "end": end} for start, end in bar.critical]
    names = {str(item["row"]): str(item["label"]) for item in bars}
    y = {
        "field": "row",
        "type": "nominal",
        "title": None,
        "axis": {
            "labelExpr": f"({_expression(names)})[datum.value]",
            "ticks": False,
            "domain": False,
            "labelFontSize": 11,
        },
    }
    x = {"field": "start", "type": "quantitative", "title": "seconds since the start"}
    cut = f", the first {MOST_BARS} of {len(run.bars) + run.left_out}" if len(run.bars) > MOST_BARS else ""
    return chart(
        f"Steps of one run by start{cut}; the red line marks the critical path",
        {"step": 17},
        layer=[
            {
                "data": {"values": bars},
                "mark": {"type": "bar", "height": 9},
                "encoding": {
                    "y": y,
                    "x": x,
                    "x2": {"field": "end"},
                    "color": {
                        "field": "kind",
                        "scale": _kinds([str(item["kind"]) for item in bars]),
                        "legend": {"title": None, "orient": "top"},
                    },
                },
            },
            {
                "data": {"values": critical},
                "mark": {"type": "bar", "height": 3, "yOffset": 6, "color": CRITICAL},
                "encoding": {"y": y, "x": x, "x2": {"field": "end"}},
            },
        ],
    )


def _expression(labels: dict[str, str]) -> str:
    # A Vega expression's object literal; quotes and backslashes in names must not end a string.
    quoted = (f"'{key}': '{_escaped(value)}'" for key, value in labels.items())
    return "{" + ", ".join(quoted) + "}"


def _escaped(text: str) -> str:
    # Before the expression is made: what it says in escapes would be turned back into the characters.
    text = printable(text)
    shortened = text if len(text) <= 48 else text[:47] + "…"
    return shortened.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ")
