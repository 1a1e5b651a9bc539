"""Files and folders of recorded telemetry in, their spans in the store out: exactly once, from where it stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from otel_perfopt.measure.store.append import Appended
from otel_perfopt.measure.store.duplicates import fold
from otel_perfopt.measure.store.import_target import ImportTarget
from otel_perfopt.measure.store.otlp_files import OtlpFiles
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.whole_files import import_whole
from otel_perfopt.measure.store.writers import others_since, writing
from otel_perfopt.signal.read import sniff
from otel_perfopt.signal.read.recorded import Progress, RecordedSource
from otel_perfopt.signal.source import ReadTally


@dataclass(frozen=True, slots=True)
class Imported:
    """What one import did: what became of the spans read, files that had nothing new, and what was read."""

    appended: Appended
    unchanged_files: int
    tally: ReadTally


def import_recorded(store: TelemetryStore, paths: Sequence[Path], on_progress: Progress | None = None) -> Imported:
    """Import every file at `paths` (folders with all below them), whatever kind of telemetry it is.

    A file that was imported is passed over, one that has grown is read from where it ended, wherever
    it lies now. Stopped at any moment, the next call goes on; nothing is lost or doubled.
    `on_progress(done, total)` is called with bytes on disk. What cannot be read is in the tally.

    Raises:
        StoreError: the store cannot be written (the disk is full); what was imported before stays.
    """
    source = RecordedSource(paths)
    found = source.found()
    target = ImportTarget(store, source.tally, on_progress, sum(file.size for file in found))
    with _alone_or_folded(store):
        OtlpFiles(target).take([file for file in found if file.kind == sniff.OTLP])
        import_whole(target, found)
    target.tell(done=True)
    return Imported(target.appended, target.unchanged, source.tally)


@contextmanager
def _alone_or_folded(store: TelemetryStore) -> Iterator[None]:
    """Two that import one file at the same time may both find a span missing: then its copies are folded."""
    with writing(store.connection) as me:
        beside = others_since(store.connection, me)
        yield
        if beside or others_since(store.connection, me):
            fold(store.connection)
