"""A store in, what it holds, and the same tidied or written out as Parquet, out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_perfopt.errors import StoreError
from otel_perfopt.measure.store.duplicates import fold
from otel_perfopt.measure.store.schema import SPAN_COLUMNS, identifier
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import Window

# Chat trajectories have no clock: their times only give an order, from the epoch on.
_COUNTS: Final = """SELECT count(), uniq(TraceId), countIf(toYear(Timestamp) <= 1971) AS Untimed,
toUnixTimestamp64Nano(minIf(Timestamp, toYear(Timestamp) > 1971)), toUnixTimestamp64Nano(max(Timestamp)),
uniq(ServiceName) FROM {spans}"""
_DAYS: Final = """SELECT toString(toDate(Timestamp)) AS Day, count(), uniq(TraceId) FROM {spans}
GROUP BY Day ORDER BY Day"""
_PARTS: Final = """SELECT sum(bytes_on_disk), count() FROM system.parts
WHERE active AND database = currentDatabase() AND table = {table:String}"""
_TABLE: Final = """SELECT engine_full FROM system.tables
WHERE database = currentDatabase() AND name = {table:String}"""
_EXPORT: Final = """SELECT {columns} FROM {spans} WHERE Timestamp >= fromUnixTimestamp64Nano({{start:Int64}})
AND Timestamp < fromUnixTimestamp64Nano({{end:Int64}}) AND toDate(Timestamp) = toDate({{day:String}})
ORDER BY Timestamp"""


@dataclass(frozen=True, slots=True)
class DayCount:
    """Spans and traces of one day (UTC of the engine), `YYYY-MM-DD`."""

    day: str
    spans: int
    traces: int


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store holds.

    `window_ns` is the first and last start of a span with a clock, None where there is none;
    `disk_bytes` is compressed.
    """

    address: str
    kind: str
    spans: int
    traces: int
    services: int
    untimed_spans: int
    window_ns: tuple[int, int] | None
    disk_bytes: int
    parts: int
    retention: str
    promoted: tuple[str, ...]
    days: tuple[DayCount, ...]


def store_info(store: TelemetryStore) -> StoreInfo:
    """Count what is there."""
    connection, spans = store.connection, store.spans
    count, traces, untimed, first, last, services = connection.rows(_COUNTS.format(spans=spans))[0]
    table = {"table": store.address.table}
    disk = connection.rows(_PARTS, table)
    engine = connection.rows(_TABLE, table)
    days = connection.rows(_DAYS.format(spans=spans))
    return StoreInfo(
        address=str(store.address),
        kind=store.variant.kind.value,
        spans=int(count),
        traces=int(traces),
        services=int(services),
        untimed_spans=int(untimed),
        window_ns=(int(first), int(last)) if count > untimed else None,
        disk_bytes=int(disk[0][0] or 0) if disk else 0,
        parts=int(disk[0][1]) if disk else 0,
        retention=_retention(str(engine[0][0]) if engine else ""),
        promoted=tuple(sorted(store.variant.promoted)),
        days=tuple(DayCount(str(day), int(size), int(runs)) for day, size, runs in days),
    )


def _retention(engine: str) -> str:
    _, _, rest = engine.partition(" TTL ")
    return rest.partition(" SETTINGS ")[0].strip()


def compact(store: TelemetryStore) -> int:
    """Fold every span to one row, apply the retention and merge each day's parts; return how many stood twice.

    Raises:
        StoreError: the table is a Collector's, or there is no room to merge in.
    """
    if not store.variant.ours:
        raise StoreError(f"the table {store.address.table} in {store.address} is a Collector's and is left as it is")
    folded = fold(store.connection)
    store.connection.run(f"OPTIMIZE TABLE {identifier(store.address.table)} FINAL")
    return folded


def export_parquet(store: TelemetryStore, folder: Path, window: Window | None = None) -> Sequence[Path]:
    """Write the spans of a window to `folder`, one Parquet file a day, each whole or not there; return the files.

    Columns are the exporter's own, so that another ClickHouse (or anything that reads Parquet) takes
    them as they are. Memory is that of one day.

    Raises:
        StoreError: the store cannot be read.
        OSError: the folder cannot be written.
    """
    asked = window or Window()
    spans = store.spans
    folder.mkdir(parents=True, exist_ok=True)
    sql = _EXPORT.format(columns=", ".join(map(identifier, SPAN_COLUMNS)), spans=spans)
    written: list[Path] = []
    for (day,) in store.connection.rows(_days_of(spans), {"start": asked.start_ns, "end": asked.end_ns}):
        data = store.connection.raw(sql, "Parquet", {"start": asked.start_ns, "end": asked.end_ns, "day": str(day)})
        path = folder / f"otel_traces-{day}.parquet"
        partial = path.with_suffix(".part")
        partial.write_bytes(data)
        partial.replace(path)
        written.append(path)
    return written


def _days_of(spans: str) -> str:
    return (
        f"SELECT DISTINCT toString(toDate(Timestamp)) AS Day FROM {spans} "  # noqa: S608 - a name of ours
        "WHERE Timestamp >= fromUnixTimestamp64Nano({start:Int64}) AND Timestamp < fromUnixTimestamp64Nano({end:Int64}) "
        "ORDER BY Day"
    )
