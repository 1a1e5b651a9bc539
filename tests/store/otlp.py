"""Spans as the lines of OTLP JSON that an exporter writes them as."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from otel_perfopt.signal.record import SpanRecord


def any_value(value: object) -> dict:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (tuple, list)):
        return {"arrayValue": {"values": [any_value(item) for item in value]}}
    return {"stringValue": value}


def key_values(attributes) -> list[dict]:
    return [{"key": name, "value": any_value(value)} for name, value in attributes.items()]


def line(spans: Sequence[SpanRecord]) -> bytes:
    """Return spans of one resource and scope as one line with its end."""
    first = spans[0]
    raw = [
        {
            "traceId": span.trace_id,
            "spanId": span.span_id,
            "parentSpanId": span.parent_span_id,
            "name": span.name,
            "startTimeUnixNano": str(span.start_ns),
            "endTimeUnixNano": str(span.end_ns),
            "attributes": key_values(span.attributes),
            "events": [
                {"name": event.name, "timeUnixNano": str(event.time_ns), "attributes": key_values(event.attributes)}
                for event in span.events
            ],
            "status": {"code": 2} if span.error_type is not None else {},
        }
        for span in spans
    ]
    scope_spans = [{"scope": {"name": first.scope}, "spans": raw}]
    said = {"resourceSpans": [{"resource": {"attributes": key_values(first.resource)}, "scopeSpans": scope_spans}]}
    return json.dumps(said).encode() + b"\n"


def write_runs(path: Path, runs: Sequence[Sequence[SpanRecord]], *, mode: str = "wb") -> None:
    """Write a file with one line a run."""
    with path.open(mode) as file:
        file.writelines(line(run) for run in runs)
