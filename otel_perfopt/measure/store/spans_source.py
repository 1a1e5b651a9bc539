"""A store, a window and perhaps a sample in; whole traces, and the runs in them, out in batches of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import orjson

from otel_perfopt.execution.builder import executions_of
from otel_perfopt.execution.model import Execution
from otel_perfopt.measure.store.json_attributes import flattened
from otel_perfopt.measure.store.rows import READ_COLUMNS, record_of
from otel_perfopt.measure.store.sample import Drawn, Sample, draw
from otel_perfopt.measure.store.slices import Slice, plan_slices
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import Window
from otel_perfopt.signal.record import SpanRecord
from otel_perfopt.signal.source import ReadTally

BATCH_SPANS: Final = 20_000
# Of a sample the batches are as large as others, so each is of a longer stretch.
_MOST_SCANNED: Final = 500_000
_MAPS: Final = (5, 7)  # where `READ_COLUMNS` has the resource's and the span's attributes
_EVENT_MAPS: Final = 13

_ROWS: Final = """SELECT {columns} FROM {spans}
WHERE Timestamp >= fromUnixTimestamp64Nano({{start:Int64}}) AND Timestamp <= fromUnixTimestamp64Nano({{last:Int64}})
AND TraceId IN (
    SELECT TraceId FROM {spans} WHERE Timestamp >= fromUnixTimestamp64Nano({{look_back:Int64}})
    AND Timestamp < fromUnixTimestamp64Nano({{end:Int64}})
    AND cityHash64(TraceId) % {{parts:UInt64}} = {{part:UInt64}}
    GROUP BY TraceId HAVING toUnixTimestamp64Nano(min(Timestamp)) >= {{start:Int64}} {having}
)"""

_NAMED: Final = "SELECT {columns} FROM {spans} WHERE TraceId IN {{ids:Array(String)}}"


class StoreSource:
    """Reads the traces that begin in a window, in order of their start; iterated once.

    It is a `SpanSource` (`batches`: every batch holds whole traces) and an `ExecutionSource`
    (`executions`). Memory is that of one batch, or of one trace larger than it. With `sample` only so
    many traces are read, each command in its share: `notes` says so after reading. `on_progress` is
    called with the slices read and all of them.
    """

    def __init__(
        self,
        store: TelemetryStore,
        window: Window | None = None,
        *,
        sample: Sample | None = None,
        batch_spans: int = BATCH_SPANS,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._store = store
        self._window = window or Window()
        self._sample = sample
        self._batch_spans = batch_spans
        self._on_progress = on_progress
        self._tally = ReadTally()
        self.notes: tuple[str, ...] = ()

    @property
    def tally(self) -> ReadTally:
        """What has been read so far."""
        return self._tally

    def executions(self) -> Iterator[Execution]:
        """Yield every run once, ordered by start within a batch."""
        for batch in self.batches():
            yield from executions_of(batch)

    def batches(self) -> Iterator[tuple[SpanRecord, ...]]:
        """Yield batches of whole traces.

        Raises:
            StoreError: the store cannot be read.
        """
        connection, spans = self._store.connection, self._store.spans
        drawn = None
        if self._sample is not None:
            drawn = draw(connection, spans, self._store.variant, self._window, self._sample)
            self.notes = (drawn.said,) if drawn is not None else ()
        most = self._batch_spans if drawn is None else min(_MOST_SCANNED, round(self._batch_spans / drawn.share))
        slices = plan_slices(connection, spans, self._window, max(most, self._batch_spans))
        for number, each in enumerate(slices):
            batch = self._read(spans, each, drawn)
            if self._on_progress is not None:
                self._on_progress(number + 1, len(slices))
            if batch:
                self._tally.spans += len(batch)
                yield batch

    def _read(self, spans: str, each: Slice, drawn: Drawn | None) -> tuple[SpanRecord, ...]:
        sql = _ROWS.format(
            columns=_columns(json=self._store.variant.json), spans=spans, having=drawn.having if drawn else ""
        )
        parameters: dict[str, Any] = {
            "start": each.start_ns,
            "end": each.end_ns,
            "look_back": each.look_back_ns,
            "last": each.last_ns,
            "parts": each.parts,
            "part": each.part,
        }
        rows = self._store.connection.rows(sql, {**parameters, **(drawn.parameters if drawn else {})})
        return _records(self._store, rows)


def read_traces(store: TelemetryStore, trace_ids: Sequence[str]) -> tuple[SpanRecord, ...]:
    """Return the spans of whole traces.

    Raises:
        StoreError: the store cannot be read.
    """
    sql = _NAMED.format(columns=_columns(json=store.variant.json), spans=store.spans)
    return _records(store, store.connection.rows(sql, {"ids": list(trace_ids)}))


def _records(store: TelemetryStore, rows: Sequence[Sequence[Any]]) -> tuple[SpanRecord, ...]:
    place = str(store.address)
    if store.variant.json:
        return _by_trace([record_of(_parsed(row), place) for row in rows])
    return _by_trace([record_of(row, place) for row in rows])


def _columns(*, json: bool) -> str:
    columns = list(READ_COLUMNS)
    if json:
        for place in _MAPS:
            columns[place] = f"toJSONString({columns[place]})"
        columns[_EVENT_MAPS] = f"arrayMap(said -> toJSONString(said), {columns[_EVENT_MAPS]})"
    return ", ".join(columns)


def _parsed(row: Sequence[Any]) -> list[Any]:
    values = list(row)
    for place in _MAPS:
        values[place] = flattened(orjson.loads(values[place]))
    values[_EVENT_MAPS] = [flattened(orjson.loads(said)) for said in values[_EVENT_MAPS]]
    return values


def _by_trace(records: list[SpanRecord]) -> tuple[SpanRecord, ...]:
    """Order by the trace's start, then by the span's, so that a store gives one order whatever its parts are."""
    starts: dict[str, int] = {}
    for record in records:
        known = starts.get(record.trace_id)
        if known is None or record.start_ns < known:
            starts[record.trace_id] = record.start_ns
    records.sort(
        key=lambda record: (starts[record.trace_id], record.trace_id, record.start_ns, -record.end_ns, record.span_id)
    )
    return tuple(records)
