"""Telemetry kept on disk: finished spans in, rotated files of OTLP JSON lines out, one series a process."""

from __future__ import annotations

import io
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, cast

from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_perfopt.signal.emit.faults import fault

FOLDER = "telemetry"
SUFFIX = ".jsonl"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class RotatingStream(io.TextIOBase):
    """A text stream over files `<service>-<start ms>-<pid>-<n>.jsonl` in `folder`; whole lines or nothing.

    A file that has reached `file_bytes` is followed by the next; past `total_bytes` in the folder the
    oldest are removed. A forked child begins files of its own. What cannot be written (full disk,
    folder not writable) is cut back to the last whole line and counted in `failures`; nothing raises.
    """

    def __init__(
        self,
        folder: Path,
        service: str = "",
        file_bytes: int = 32 << 20,
        total_bytes: int = 512 << 20,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._service = _UNSAFE.sub("_", service)[:64] or "agent"
        self._file_bytes = file_bytes
        self._total_bytes = total_bytes
        self._clock_ns = clock_ns
        self._descriptor: int | None = None
        self._size = 0
        self._number = 0
        self._pid = 0
        self._started_ms = 0
        self.path: Path | None = None
        self.failures = 0

    def writable(self) -> bool:
        """Tell that this can be written to."""
        return True

    def write(self, text: str) -> int:
        """Append one batch, a line."""
        data = text.encode("utf-8", "surrogatepass")
        try:
            descriptor = self._open(len(data))
            written = 0
            while written < len(data):
                written += os.write(descriptor, data[written:])
            self._size += written
        except OSError as error:
            self.failures += 1
            fault("telemetry file", error)
            self._cut_back()
        return len(text)

    def flush(self) -> None:
        """Do nothing: every line is written through."""

    def close(self) -> None:
        """Close the present file."""
        self._release()
        super().close()

    def _open(self, coming: int) -> int:
        if self._pid != os.getpid():
            self._release()
            self._pid, self._number, self._started_ms = os.getpid(), 0, self._clock_ns() // 1_000_000
        if self._descriptor is not None and self._size and self._size + coming > self._file_bytes:
            self._release()
        if self._descriptor is None:
            self._descriptor = self._begin()
            self._remove_oldest()
        return self._descriptor

    def _begin(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.path = self._folder / f"{self._service}-{self._started_ms}-{self._pid}-{self._number}{SUFFIX}"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        self._number += 1
        self._size = os.fstat(descriptor).st_size
        return descriptor

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                os.close(descriptor)
            except OSError as error:
                fault("telemetry file", error)

    def _cut_back(self) -> None:
        if self._descriptor is not None:
            try:
                os.ftruncate(self._descriptor, self._size)
            except OSError as error:
                fault("telemetry file", error)
            self._forget_empty()
        self._release()

    def _forget_empty(self) -> None:
        """Remove a file that has nothing in it: a disk that stays full would else get one more with each batch."""
        if self._size or self.path is None:
            return
        try:
            self.path.unlink()
            self._number -= 1
        except OSError as error:
            fault("telemetry file", error)

    def _remove_oldest(self) -> None:
        files = sorted(
            (stat.st_mtime_ns, stat.st_size, path)
            for path in self._folder.glob(f"*{SUFFIX}")
            if path != self.path and (stat := path.stat())
        )
        excess = sum(size for _, size, _ in files) + self._size + self._file_bytes - self._total_bytes
        for _, size, path in files:
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size


class TelemetryFileExporter(SpanExporter):
    """The official file exporter on a rotating stream; spans that could not be kept are counted in `dropped`."""

    def __init__(self, stream: RotatingStream) -> None:
        self.stream = stream
        self.dropped = 0
        self._inner = FileSpanExporter(stream=cast("IO[str]", stream))
        if hasattr(os, "register_at_fork"):
            # The parent may have been exporting: its lock would stay held in the child for ever.
            here = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _renew(here))

    def renew(self) -> None:
        """Start again with a lock that is free; the next line goes to a file of this process."""
        self._inner = FileSpanExporter(stream=cast("IO[str]", self.stream))

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write one batch."""
        failures = self.stream.failures
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS and self.stream.failures == failures:
            return result
        self.dropped += len(spans)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Close the present file."""
        self._inner.shutdown()
        self.stream.close()

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Do nothing: every batch is written through."""
        return True


def _renew(reference: weakref.ref[TelemetryFileExporter]) -> None:
    exporter = reference()
    if exporter is not None:
        exporter.renew()


def in_thread(work: Callable[[], object], limit_s: float) -> None:
    """Do `work` on a thread and wait `limit_s` at most: the caller may hold the locks that the work needs."""
    thread = threading.Thread(target=work, name="otel-perfopt-flush", daemon=True)
    thread.start()
    thread.join(limit_s)
