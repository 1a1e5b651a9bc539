"""Runs from recorded telemetry: a `SpanSource` in, its `Execution`s one batch at a time out."""

from __future__ import annotations

from collections.abc import Iterator

from otel_perfopt.execution.builder import executions_of
from otel_perfopt.execution.model import Execution
from otel_perfopt.signal.source import ReadTally, SpanSource


class RecordedExecutions:
    """An `ExecutionSource` over recorded spans; each batch is built, handed on and forgotten."""

    def __init__(self, source: SpanSource) -> None:
        self._source = source

    @property
    def tally(self) -> ReadTally:
        """What has been read so far, and what could not be."""
        return self._source.tally

    def executions(self) -> Iterator[Execution]:
        """Yield every run once, batch by batch, ordered by start within a batch."""
        for batch in self._source.batches():
            yield from executions_of(batch)
