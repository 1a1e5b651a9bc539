"""A panel in, what its queries return from a real Prometheus out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import urlopen

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_LEGEND = re.compile(r"\{\{(\w+)\}\}")


class Window(NamedTuple):
    """The time shown: Unix seconds, and the seconds between two points."""

    start: float
    end: float
    step: float


class Series(NamedTuple):
    """One series of one query: its name in the legend, its labels, and (time, value or histogram)."""

    query: str
    name: str
    labels: Mapping[str, str]
    points: list[tuple[float, Any]]


class Prometheus(NamedTuple):
    """Where to ask, and what the dashboards' variables stand for."""

    url: str
    variables: Mapping[str, str]

    def panel(self, panel: Mapping[str, Any], window: Window) -> list[Series]:
        """Return every series of a panel's queries."""
        return [found for target in panel["targets"] for found in self._target(target, window)]

    def _target(self, target: Mapping[str, Any], window: Window) -> Iterator[Series]:
        expr = _VARIABLE.sub(lambda found: self.variables[found[1] or found[2]], target["expr"])
        if target.get("instant"):
            result = self._get("query", query=expr, time=window.end)
        else:
            result = self._get("query_range", query=expr, start=window.start, end=window.end, step=window.step)
        for row in result:
            points = row.get("values") or row.get("histograms") or [row.get("value") or row["histogram"]]
            yield Series(target["refId"], _legend(target, row["metric"]), row["metric"], [tuple(one) for one in points])

    def _get(self, what: str, **parameters: object) -> list[dict[str, Any]]:
        with urlopen(f"{self.url}/api/v1/{what}?{urlencode(parameters)}", timeout=20) as response:  # noqa: S310 - ours
            result: list[dict[str, Any]] = json.load(response)["data"]["result"]
        return result


def _legend(target: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    pattern = target.get("legendFormat") or "__auto"
    if pattern == "__auto":
        return ", ".join(value for name, value in labels.items() if name != "__name__") or "value"
    return _LEGEND.sub(lambda found: labels.get(found[1], ""), pattern)
