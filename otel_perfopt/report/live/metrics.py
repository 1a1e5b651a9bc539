"""Lines of the live meter's metrics in, the live window of commands, tools and models out; no span is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from otel_perfopt import conventions as c
from otel_perfopt.report.live.growing_files import GrowingFiles
from otel_perfopt.report.live.window import OTHERS, LiveWindow, RowKind

# Histogram of durations -> the kind of row, and the attribute that names it.
_DURATIONS = {
    c.METRIC_COMMAND_DURATION[0]: (RowKind.COMMAND, c.COMMAND_NAME),
    c.METRIC_TOOL_DURATION[0]: (RowKind.TOOL, c.GEN_AI_TOOL_NAME),
    c.METRIC_INFERENCE_DURATION[0]: (RowKind.MODEL, c.GEN_AI_REQUEST_MODEL),
}
_TOKENS = {"input": "tokens_in", "output": "tokens_out"}


class LiveMetrics:
    """Follows a folder of the meter's files: differences of ten seconds each; runs in flight are not in them."""

    def __init__(self, folder: Path, window: LiveWindow) -> None:
        self._window = window
        self.files = GrowingFiles(folder)
        self.broken = 0

    def look(self, now_ns: int) -> None:
        """Read what was written since the last look; a line that is not what the meter writes is counted."""
        for line in self.files.appended():
            self._line(line, now_ns)

    def _line(self, line: bytes, now_ns: int) -> None:
        try:
            for metric in _metrics(orjson.loads(line)):
                self._take(metric, now_ns)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            self.broken += 1

    def _take(self, metric: Mapping[str, Any], now_ns: int) -> None:
        name = metric["name"]
        if name in _DURATIONS:
            kind, attribute = _DURATIONS[name]
            for point in metric["exponentialHistogram"]["dataPoints"]:
                self._durations(kind, attribute, point, now_ns)
        elif name == c.METRIC_TOKENS[0]:
            for point in metric["sum"]["dataPoints"]:
                self._tokens(point, now_ns)

    def _durations(self, kind: RowKind, attribute: str, point: Mapping[str, Any], now_ns: int) -> None:
        told = _attributes(point)
        counts = self._window.slot(kind, told.get(attribute, OTHERS), _when(point), now_ns)
        if counts is None:
            return
        per_bucket = 2.0 ** -int(point.get("scale", 0))
        positive = point.get("positive", {})
        offset = int(positive.get("offset", 0))
        before = counts.seconds
        for place, number in enumerate(positive.get("bucketCounts", ())):
            if int(number):
                counts.add_duration(2 ** ((offset + place + 0.5) * per_bucket), int(number))
        zeros = int(point.get("zeroCount", 0))
        counts.add_duration(0.0, zeros)
        # The sum is exact where the buckets are not.
        counts.seconds = before + float(point["sum"])
        if told.get(c.COMMAND_OUTCOME) == "failed":
            counts.errors += int(point["count"])

    def _tokens(self, point: Mapping[str, Any], now_ns: int) -> None:
        told = _attributes(point)
        field = _TOKENS.get(told.get(c.TOKEN_TYPE, ""))
        if field is None or c.GEN_AI_REQUEST_MODEL not in told:
            return
        counts = self._window.slot(RowKind.MODEL, told[c.GEN_AI_REQUEST_MODEL], _when(point), now_ns)
        if counts is not None:
            number = int(float(point.get("asInt", point.get("asDouble", 0))))
            setattr(counts, field, getattr(counts, field) + number)


def _metrics(line: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for resource in line["resourceMetrics"]:
        for scope in resource["scopeMetrics"]:
            yield from scope["metrics"]


def _when(point: Mapping[str, Any]) -> tuple[int, int]:
    return int(point["startTimeUnixNano"]), int(point["timeUnixNano"])


def _attributes(point: Mapping[str, Any]) -> dict[str, str]:
    return {item["key"]: str(item["value"].get("stringValue", "")) for item in point.get("attributes", ())}
