"""Records in, their rows in the table out: each span once, however often it is handed in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from otel_perfopt.measure.store.connection import Connection, Parameters
from otel_perfopt.measure.store.rows import INSERTED, LINE_COLUMNS, line_of
from otel_perfopt.measure.store.schema import identifier
from otel_perfopt.measure.store.writers import writing
from otel_perfopt.signal.record import SpanRecord

_BATCH: Final = "perfopt_batch"
_DELETE_AT_ONCE: Final = 5_000
# A span is looked for around its own time only, so that old partitions are not read.
_AROUND_NS: Final = 3600 * 10**9
_MAX_NS: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of records: new spans, spans that were there already, spans that took a shorter state's place."""

    added: int = 0
    known: int = 0
    replaced: int = 0

    def __add__(self, other: Appended) -> Appended:
        return Appended(self.added + other.added, self.known + other.known, self.replaced + other.replaced)


class Appender:
    """Writes records through a temporary table of this session.

    A span is the same as another with its trace and span id; of two states the one that lasts longer
    stays, as everywhere in this package. What is there is not inserted again, so a batch that was
    half written before a crash is completed by handing it in again. When `append` returns, the rows
    are on disk.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._table = identifier(connection.address.table)
        columns = ", ".join(f"{name} {kind}" for name, kind in LINE_COLUMNS.items())
        connection.run(f"CREATE TEMPORARY TABLE IF NOT EXISTS {_BATCH} ({columns}) ENGINE = Memory")

    def append(self, records: Iterable[SpanRecord], *, one_span_id: bool = False) -> Appended:
        """Write records.

        Args:
            records: spans of any traces, in memory at once.
            one_span_id: a span id names one span whatever its trace (transcripts: a resumed session
                tells its messages again under another prompt).

        Raises:
            StoreError: nothing or a part was written; handing the same records in again is right.
        """
        unique = _longest(records)
        if not unique:
            return Appended()
        with self._connection.exclusive():
            self._connection.run(f"TRUNCATE TABLE {_BATCH}")
            lines = b"\n".join(line_of(record) for record in unique)
            self._connection.insert(_BATCH, list(LINE_COLUMNS), lines)
            return self._insert(unique, one_span_id=one_span_id)

    def _insert(self, records: Sequence[SpanRecord], *, one_span_id: bool) -> Appended:
        window = _window(records)
        identity = "SpanId" if one_span_id else "TraceId, SpanId"
        known = self._known(identity, window)
        if not known:
            self._run(_INSERT.format(table=self._table, **_LISTS), {})
            return Appended(added=len(records))
        present = {(trace_id, span_id): duration for trace_id, span_id, _, duration in known}
        elsewhere = {span_id for _, span_id in present} if one_span_id else set()
        new, longer = [], []
        for record in records:
            duration = present.get((record.trace_id, record.span_id))
            if duration is None:
                if record.span_id not in elsewhere:
                    new.append(record)
            elif record.end_ns - record.start_ns > duration:
                longer.append(record)
        return self._insert_some(records, new, longer, known)

    def _insert_some(
        self,
        records: Sequence[SpanRecord],
        new: list[SpanRecord],
        longer: list[SpanRecord],
        known: Sequence[tuple[Any, ...]],
    ) -> Appended:
        if new or longer:
            self._connection.run(f"TRUNCATE TABLE {_BATCH}")
            lines = b"\n".join(line_of(record) for record in (*new, *longer))
            self._connection.insert(_BATCH, list(LINE_COLUMNS), lines)
        if longer:
            changed = {(record.trace_id, record.span_id) for record in longer}
            # The longer state is written before the shorter goes: nothing is lost between, and the mark
            # says that a span may stand twice until it is gone.
            with writing(self._connection):
                self._run(_INSERT.format(table=self._table, **_LISTS), {})
                self._delete([row for row in known if (row[0], row[1]) in changed])
        elif new:
            self._run(_INSERT.format(table=self._table, **_LISTS), {})
        return Appended(len(new), len(records) - len(new) - len(longer), len(longer))

    def _known(self, identity: str, window: Parameters) -> Sequence[tuple[Any, ...]]:
        return self._connection.rows(_KNOWN.format(table=self._table, batch=_BATCH, identity=identity), window)

    def _delete(self, rows: Sequence[tuple[Any, ...]]) -> None:
        for place in range(0, len(rows), _DELETE_AT_ONCE):
            self._run(_DELETE.format(table=self._table), {"rows": list(rows[place : place + _DELETE_AT_ONCE])})

    def _run(self, sql: str, parameters: Parameters) -> None:
        self._connection.run(sql, parameters)


_LISTS: Final = {
    "batch": _BATCH,
    "columns": ", ".join(identifier(name) for name in INSERTED),
    "values": ", ".join(INSERTED.values()),
}
_INSERT: Final = "INSERT INTO {table} ({columns}) SELECT {values} FROM {batch}"
_KNOWN: Final = """SELECT TraceId, SpanId, toUnixTimestamp64Nano(Timestamp) AS Time, Duration FROM {table}
WHERE Timestamp >= fromUnixTimestamp64Nano({{from:Int64}}) AND Timestamp <= fromUnixTimestamp64Nano({{until:Int64}})
AND ({identity}) IN (SELECT {identity} FROM {batch})"""
_DELETE: Final = """DELETE FROM {table} WHERE (TraceId, SpanId, toUnixTimestamp64Nano(Timestamp), Duration)
IN {{rows:Array(Tuple(String, String, Int64, UInt64))}}"""


def _longest(records: Iterable[SpanRecord]) -> list[SpanRecord]:
    kept: dict[tuple[str, str], SpanRecord] = {}
    for record in records:
        identity = (record.trace_id, record.span_id)
        other = kept.get(identity)
        if other is None or record.end_ns > other.end_ns:
            kept[identity] = record
    return list(kept.values())


def _window(records: Sequence[SpanRecord]) -> dict[str, int]:
    first = min(record.start_ns for record in records)
    last = max(record.start_ns for record in records)
    return {"from": max(0, first - _AROUND_NS), "until": min(_MAX_NS, max(0, last) + _AROUND_NS)}
