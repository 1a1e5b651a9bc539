"""A file of OTLP JSON lines and a place in it in, its further spans in batches, each with the place after it, out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import orjson

from otel_perfopt.signal.read.codex_log import LOGS
from otel_perfopt.signal.read.json_lines import objects_of
from otel_perfopt.signal.read.lines import GZIP_MAGIC, MAX_LINE_BYTES, read_lines
from otel_perfopt.signal.read.otlp_file import RECORD_START
from otel_perfopt.signal.read.otlp_line import OTHER_SIGNALS, TRACES, spans_of
from otel_perfopt.signal.record import SpanRecord
from otel_perfopt.signal.source import ReadProblem, ReadTally

BATCH_SPANS: Final = 20_000


@dataclass(frozen=True, slots=True)
class OtlpBatch:
    """Spans read, and where reading goes on: after `bytes` of the file, which are `lines` lines."""

    spans: list[SpanRecord]
    bytes: int
    lines: int


@dataclass(frozen=True, slots=True)
class _Line:
    """A line's text and its number in the file, and how far reading is when it is done: bytes and lines."""

    end: int
    number: int
    place: int
    text: bytes


@dataclass(slots=True)
class OtlpImport:
    """Reads one file once. `has_logs` tells afterwards that it holds log records too (Codex's events)."""

    path: Path
    tally: ReadTally
    batch_spans: int = BATCH_SPANS
    has_logs: bool = False
    _spans: list[SpanRecord] = field(default_factory=list)

    def batches(self, offset: int = 0, number: int = 0) -> Iterator[OtlpBatch]:
        """Yield the spans after `offset` bytes and `number` lines; a torn last line is left for the next time.

        What cannot be read is in the tally. A gzip file is always read from its beginning.
        """
        for line in self._packed() if is_gzip(self.path) else self._plain(offset, number):
            self._read(line)
            if len(self._spans) >= self.batch_spans:
                yield OtlpBatch(self._taken(), line.end, line.number)
            offset, number = line.end, line.number
        yield OtlpBatch(self._taken(), offset, number)

    def _taken(self) -> list[SpanRecord]:
        spans, self._spans = self._spans, []
        return spans

    def _packed(self) -> Iterator[_Line]:
        for number, text in read_lines(self.path, self.tally):
            yield _Line(0, number, number, text)

    def _plain(self, offset: int, number: int) -> Iterator[_Line]:
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                yield from self._lines(file, offset, number)
        except OSError as error:
            self._report(number, "unreadable_file", f"cannot be read: {error.strerror or error}")

    def _lines(self, file: BinaryIO, offset: int, number: int) -> Iterator[_Line]:
        while text := file.readline(MAX_LINE_BYTES):
            size = len(text)
            if not text.endswith(b"\n"):
                size += _skip_line(file)
                if size < MAX_LINE_BYTES:
                    # Still being written, or whole and only without its end: in both cases it is met again.
                    if _is_whole(text):
                        yield _Line(offset, number, number + 1, text)
                    return
                self._report(number + 1, "line_too_long", f"longer than {MAX_LINE_BYTES >> 20} MiB")
                text = b""
            offset, number = offset + size, number + 1
            self.tally.lines += 1
            self.tally.bytes += size
            yield _Line(offset, number, number, text)

    def _read(self, line: _Line) -> None:
        if not line.text.strip():
            return
        place = f"{self.path}:{line.place}"
        complain = partial(self._report, line.place, "broken_span")
        before = len(self._spans)
        for value in objects_of(line.text, self.path, line.place, self.tally, restart=RECORD_START):
            if TRACES in value:
                self._spans.extend(spans_of(value, place, complain))
            elif LOGS in value:
                self.has_logs = True
            elif not any(signal in value for signal in OTHER_SIGNALS):
                complain("an object that is no OTLP record")
        self.tally.spans += len(self._spans) - before

    def _report(self, number: int, kind: str, message: str) -> None:
        self.tally.report(ReadProblem(str(self.path), number, kind, message))


def _skip_line(file: BinaryIO) -> int:
    """Pass over the rest of a line that is too long; return its length."""
    size = 0
    while piece := file.readline(MAX_LINE_BYTES):
        size += len(piece)
        if piece.endswith(b"\n"):
            break
    return size


def _is_whole(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def is_gzip(path: Path) -> bool:
    """Tell whether a file is packed; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(2) == GZIP_MAGIC
    except OSError:
        return False
