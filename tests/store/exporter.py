"""Tables of the Collector's ClickHouse exporter, and rows as it writes them: every value text, in its column order."""

from __future__ import annotations

import json
from collections.abc import Sequence

from otel_perfopt.measure.store.connection import Connection
from otel_perfopt.signal.record import SpanRecord

MAP = "Map(LowCardinality(String), String)"


def table_ddl(attributes: str, *, extra: str = "", indexes: str = "", old: bool = False) -> str:
    """Return the DDL of a table whose attributes are of a type; `old` orders by Unix seconds as years ago."""
    order = (
        "(ServiceName, SpanName, toUnixTimestamp(Timestamp), TraceId)"
        if old
        else "(ServiceName, SpanName, toDateTime(Timestamp))"
    )
    return f"""CREATE TABLE otel_traces (
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)), TraceId String, SpanId String, ParentSpanId String,
    TraceState String, SpanName LowCardinality(String), SpanKind LowCardinality(String),
    ServiceName LowCardinality(String), ResourceAttributes {attributes}, ScopeName String, ScopeVersion String,
    SpanAttributes {attributes}, Duration {"Int64" if old else "UInt64"}, StatusCode LowCardinality(String),
    StatusMessage String,
    Events Nested (Timestamp DateTime64(9), Name LowCardinality(String), Attributes {attributes}),
    Links Nested (TraceId String, SpanId String, TraceState String, Attributes {attributes}){extra}{indexes}
) ENGINE = MergeTree PARTITION BY toDate(Timestamp) ORDER BY {order}"""


ITEMS = """,
    ResourceAttributeItems Array(String) ALIAS arrayMap(kv -> concat(kv.1, '=', kv.2),
        CAST(ResourceAttributes, 'Array(Tuple(String, String))')),
    SpanAttributeItems Array(String) ALIAS arrayMap(kv -> concat(kv.1, '=', kv.2),
        CAST(SpanAttributes, 'Array(Tuple(String, String))'))"""
TEXT_INDEXES = """,
    INDEX idx_trace_id TraceId TYPE text(tokenizer = 'array'),
    INDEX idx_span_attr_items SpanAttributeItems TYPE text(tokenizer = 'array')"""

TABLES = {
    "old": table_ddl(MAP, old=True),
    "map": table_ddl(MAP),
    "items": table_ddl(MAP, extra=ITEMS),
    "full-text": table_ddl(MAP, extra=ITEMS, indexes=TEXT_INDEXES),
    "json": table_ddl("JSON"),
    "json with keys": table_ddl(
        "JSON",
        extra=", ResourceAttributesKeys Array(LowCardinality(String)), SpanAttributesKeys Array(LowCardinality(String))",
    ),
}


def as_string(value: object) -> str:
    """Return a value as pdata's AsString writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return json.dumps(list(value), separators=(",", ":"))
    return str(value)


def write(connection: Connection, spans: Sequence[SpanRecord], *, typed: bool) -> None:
    """Insert spans as the exporter does; `typed` for a table with JSON attributes."""

    def attributes(said) -> object:
        return dict(said) if typed else {name: as_string(value) for name, value in said.items()}

    lines = [
        json.dumps(
            [
                f"{span.start_ns // 10**9}.{span.start_ns % 10**9:09d}",
                span.trace_id,
                span.span_id,
                span.parent_span_id,
                "",
                span.name,
                "Internal",
                span.resource.get("service.name", ""),
                attributes(span.resource),
                span.scope,
                "1.0",
                attributes(span.attributes),
                span.end_ns - span.start_ns,
                "Unset" if span.error_type is None else "Error",
                "",
                [f"{event.time_ns // 10**9}.{event.time_ns % 10**9:09d}" for event in span.events],
                [event.name for event in span.events],
                [attributes(event.attributes) for event in span.events],
                [],
                [],
                [],
                [],
            ]
        )
        for span in spans
    ]
    columns = [
        "Timestamp", "TraceId", "SpanId", "ParentSpanId", "TraceState", "SpanName", "SpanKind", "ServiceName",
        "ResourceAttributes", "ScopeName", "ScopeVersion", "SpanAttributes", "Duration", "StatusCode",
        "StatusMessage", "Events.Timestamp", "Events.Name", "Events.Attributes", "Links.TraceId", "Links.SpanId",
        "Links.TraceState", "Links.Attributes",
    ]  # fmt: skip
    connection.insert("otel_traces", columns, "\n".join(lines).encode())
