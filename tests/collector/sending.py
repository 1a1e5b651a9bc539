"""Numbers in, OTLP out: spans with planted ids for a Collector or a file, and the ids that arrived."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

SERVICE = "planted-agent"


def attribute(key: str, value: str | int) -> dict[str, Any]:
    """Return an attribute in OTLP JSON."""
    return {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}


def span_id(number: int) -> str:
    """Return the id of the span of that number."""
    return f"5eed{number + 1:012x}"


def trace_id(number: int) -> str:
    """Return the id of the trace of that number; it begins with no zeros, which Jaeger leaves out."""
    return f"5eed{number + 1:028x}"


def payload(numbers: Sequence[int], padding: int = 0, resource: str = "", **attributes: str) -> dict[str, Any]:
    """Return one batch: a span for each number, each its own trace; `padding` characters make them long."""
    now = time.time_ns()
    extra = [attribute("padding", "x" * padding)] if padding else []
    spans = [
        {
            "traceId": trace_id(number),
            "spanId": span_id(number),
            "name": "execute_tool lookup",
            "kind": 1,
            "startTimeUnixNano": str(now - 5_000_000),
            "endTimeUnixNano": str(now),
            "attributes": [
                attribute("gen_ai.operation.name", "execute_tool"),
                attribute("gen_ai.tool.name", "lookup"),
                attribute("perfopt.step.kind", "tool"),
                *(attribute(key, value) for key, value in attributes.items()),
                *extra,
            ],
        }
        for number in numbers
    ]
    owner = [attribute("service.name", SERVICE), *([attribute("long", resource)] if resource else [])]
    return {"resourceSpans": [{"resource": {"attributes": owner}, "scopeSpans": [{"scope": {}, "spans": spans}]}]}


def send(http: str, body: dict[str, Any], timeout_s: float = 60.0) -> int:
    """Send a batch until it is taken, as every OTLP exporter does; returns how often it was refused."""
    data = json.dumps(body).encode()
    end, refused = time.monotonic() + timeout_s, 0
    while True:
        request = urllib.request.Request(f"{http}/v1/traces", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=15):
                return refused
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            refused += 1
            time.sleep(0.1)


def batches(count: int, size: int) -> Iterable[range]:
    """Yield the numbers 0 to `count` - 1 in batches of `size`."""
    return (range(start, min(start + size, count)) for start in range(0, count, size))


def lines(folder: Path, name: str = "traces*.jsonl") -> list[dict[str, Any]]:
    """Return the whole lines of a Collector's files."""
    files = sorted(folder.glob(name)) if folder.exists() else []
    return [
        json.loads(line) for file in files for line in file.read_text().splitlines(keepends=True) if line[-1:] == "\n"
    ]


def spans_in(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return every span of OTLP JSON lines."""
    return [
        span
        for line in found
        for resource in line.get("resourceSpans", ())
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def ids_in(folder: Path) -> list[str]:
    """Return the id of every span in a Collector's files, twice where it is there twice."""
    return [span["spanId"] for span in spans_in(lines(folder))]
