"""What the parts of an import share: spans in, a store that has them and a tally out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from otel_perfopt.measure.store.append import Appended
from otel_perfopt.measure.store.imported_files import ImportedFiles
from otel_perfopt.measure.store.otlp_import import BATCH_SPANS
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.signal.read.recorded import FoundFile, Progress
from otel_perfopt.signal.record import SpanRecord
from otel_perfopt.signal.source import ReadProblem, ReadTally


@dataclass(slots=True)
class ImportTarget:
    """Where spans go, how far the import is, and what could not be read. `total` is bytes on disk."""

    store: TelemetryStore
    tally: ReadTally
    on_progress: Progress | None
    total: int
    appended: Appended = field(default_factory=Appended)
    unchanged: int = 0
    _passed_over: int = 0

    @property
    def files(self) -> ImportedFiles:
        """The store's memory of what it has read."""
        return ImportedFiles(self.store.connection)

    def put(self, spans: Iterable[SpanRecord], *, one_span_id: bool = False) -> None:
        """Write spans to disk."""
        self.appended += self.store.append(spans, one_span_id=one_span_id)
        self.tell()

    def put_all(self, batches: Iterable[Iterable[SpanRecord]], *, one_span_id: bool = False) -> int:
        """Write small batches together; return how many spans they held."""
        count = 0
        waiting: list[SpanRecord] = []
        for batch in batches:
            waiting.extend(batch)
            if len(waiting) >= BATCH_SPANS:
                count += len(waiting)
                self.put(waiting, one_span_id=one_span_id)
                waiting = []
        self.put(waiting, one_span_id=one_span_id)
        return count + len(waiting)

    def pass_over(self, files: Iterable[FoundFile]) -> None:
        """Note files that have nothing new."""
        for file in files:
            self.unchanged += 1
            self._passed_over += file.size
        self.tell()

    def cannot_read(self, file: FoundFile, error: OSError) -> None:
        """Note a file that cannot be read."""
        self.tally.report(
            ReadProblem(str(file.path), 0, "unreadable_file", f"cannot be read: {error.strerror or error}")
        )

    def tell(self, *, done: bool = False) -> None:
        """Tell the progress."""
        if self.on_progress is not None:
            reached = self.total if done else min(self._passed_over + self.tally.bytes, self.total)
            self.on_progress(reached, self.total)
