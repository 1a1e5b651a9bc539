"""The runs of named traces: a store and trace ids in, `Execution`s out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from otel_perfopt.execution.builder import executions_of
from otel_perfopt.execution.model import Execution
from otel_perfopt.measure.store.spans_source import read_traces
from otel_perfopt.measure.store.telemetry_store import TelemetryStore

_AT_ONCE: Final = 500


def left_runs(store: TelemetryStore, trace_ids: Sequence[str]) -> Iterator[Execution]:
    """Yield the runs of whole traces, some hundred traces at a time.

    Raises:
        StoreError: the store cannot be read.
    """
    for place in range(0, len(trace_ids), _AT_ONCE):
        yield from executions_of(read_traces(store, trace_ids[place : place + _AT_ONCE]))
