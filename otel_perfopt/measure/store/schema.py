"""The tables of a store we made: names and a retention in, their DDL out."""

from __future__ import annotations

from typing import Final

from otel_perfopt.measure.store.connection import Connection
from otel_perfopt.measure.store.hot_columns import HOT_COLUMNS, promoted_expression, quoted

OURS: Final = "otel-perfopt store, schema 1"
_ATTRIBUTES: Final = "Map(LowCardinality(String), String)"

# What every version of the Collector's exporter inserts (opentelemetry-collector-contrib, exporter/clickhouseexporter).
SPAN_COLUMNS: Final = {
    "Timestamp": "DateTime64(9)",
    "TraceId": "String",
    "SpanId": "String",
    "ParentSpanId": "String",
    "TraceState": "String",
    "SpanName": "LowCardinality(String)",
    "SpanKind": "LowCardinality(String)",
    "ServiceName": "LowCardinality(String)",
    "ResourceAttributes": _ATTRIBUTES,
    "ScopeName": "String",
    "ScopeVersion": "String",
    "SpanAttributes": _ATTRIBUTES,
    "Duration": "UInt64",
    "StatusCode": "LowCardinality(String)",
    "StatusMessage": "String",
    "Events.Timestamp": "Array(DateTime64(9))",
    "Events.Name": "Array(LowCardinality(String))",
    "Events.Attributes": f"Array({_ATTRIBUTES})",
    "Links.TraceId": "Array(String)",
    "Links.SpanId": "Array(String)",
    "Links.TraceState": "Array(String)",
    "Links.Attributes": f"Array({_ATTRIBUTES})",
}
_CODECS: Final = {"Timestamp": "Delta(8), ZSTD(1)", "Duration": "T64, ZSTD(1)"}

# One row a state of a file's import; the latest counts.
_FILES_TABLE: Final = f"""CREATE TABLE IF NOT EXISTS perfopt_imported_files (
    Identity String, Path String, Kind LowCardinality(String), Bytes UInt64, Lines UInt64, TailDigest String,
    Spans UInt64, At DateTime64(9) DEFAULT now64(9)
) ENGINE = ReplacingMergeTree(At) ORDER BY Identity
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT '{OURS}'"""
# Who has begun to write what may stand twice, and has not ended.
_WRITERS_TABLE: Final = f"""CREATE TABLE IF NOT EXISTS perfopt_writers (
    Writer String, Host String, Pid UInt64, Open UInt8, At DateTime64(9) DEFAULT now64(9)
) ENGINE = ReplacingMergeTree(At) ORDER BY Writer
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT '{OURS}'"""


def map_attribute(name: str) -> str:
    """Return the SQL of a span attribute where attributes are a map; an empty text where it is not stated."""
    return f"SpanAttributes[{quoted(name)}]"


def identifier(name: str) -> str:
    """Return a table's or column's name as SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def create_tables(connection: Connection) -> None:
    """Make the tables that are not there; what is there is left as it is."""
    for statement in (_spans_table(connection.address.table), _FILES_TABLE, _WRITERS_TABLE):
        connection.run(statement)


def set_retention(connection: Connection, days: int | None) -> None:
    """Keep spans for `days`, or for good (None). Spans without a clock (chat trajectories) are always kept."""
    table = identifier(connection.address.table)
    if days is None:
        connection.run(f"ALTER TABLE {table} REMOVE TTL")
        return
    # A day is the unit of the partitions, so nothing is rewritten when one has passed.
    connection.run(
        f"ALTER TABLE {table} MODIFY TTL toDateTime(Timestamp) + toIntervalDay({int(days)}) "
        "DELETE WHERE toYear(Timestamp) > 1971 SETTINGS materialize_ttl_after_modify = 0"
    )


def _spans_table(name: str) -> str:
    columns = [
        f"{identifier(column)} {kind} CODEC({_CODECS.get(column, 'ZSTD(1)')})" for column, kind in SPAN_COLUMNS.items()
    ]
    columns.extend(
        f"{identifier(hot.name)} {hot.type} MATERIALIZED {promoted_expression(hot, map_attribute)} CODEC(ZSTD(1))"
        for hot in HOT_COLUMNS
    )
    columns.append("INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1")
    columns.append("INDEX idx_duration Duration TYPE minmax GRANULARITY 1")
    # The exporter's order, lengthened by the span's identity: a span written twice is folded into one,
    # and of two states of it the longer stays.
    return f"""CREATE TABLE IF NOT EXISTS {identifier(name)} ({", ".join(columns)})
ENGINE = ReplacingMergeTree(Duration)
PARTITION BY toDate(Timestamp)
PRIMARY KEY (ServiceName, SpanName, toDateTime(Timestamp))
ORDER BY (ServiceName, SpanName, toDateTime(Timestamp), Timestamp, TraceId, SpanId)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1
COMMENT {quoted(OURS)}"""
