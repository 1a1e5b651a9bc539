"""A plain or gzip file in, its numbered lines out; whatever cannot be read becomes a counted problem."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_perfopt.signal.source import ReadProblem, ReadTally

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

GZIP_MAGIC: Final = b"\x1f\x8b"
MAX_LINE_BYTES: Final = 64 << 20
_BUFFER_BYTES: Final = 1 << 18
_PACKED_BYTES: Final = 1 << 14
_GZIP_WINDOW: Final = 31  # zlib's way to ask for a gzip header and its checksum
_LINES_BETWEEN_COUNTS: Final = 64


def read_lines(path: Path, tally: ReadTally) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line without its end) of a file, whatever its name says about compression.

    Blank lines are skipped but numbered. `tally` gets lines, bytes on disk, and the problems
    `unreadable_file`, `truncated_gzip`, `corrupt_gzip` and `line_too_long`.
    """
    number = 0
    try:
        with path.open("rb") as file:
            lines = _numbered(decompressed(file), path, tally)
            counted = 0
            for number, line in lines:
                yield number, line
                if number % _LINES_BETWEEN_COUNTS == 0:
                    tally.bytes, counted = tally.bytes + file.tell() - counted, file.tell()
            tally.bytes += file.tell() - counted
    except EOFError:
        tally.report(ReadProblem(str(path), number + 1, "truncated_gzip", "the gzip file is cut off here"))
    except zlib.error as error:
        tally.report(
            ReadProblem(str(path), number + 1, "corrupt_gzip", f"the gzip data is corrupt from here on: {error}")
        )
    except OSError as error:
        tally.report(ReadProblem(str(path), number, "unreadable_file", f"cannot be read: {error.strerror or error}"))


def decompressed(file: io.BufferedReader) -> io.BufferedReader:
    """Return a buffered stream of the file's content, unpacked when it starts as gzip does; `file` stays the caller's.

    Everything before a cut or damage can be read before the stream raises EOFError or zlib.error.
    """
    magic = file.read(2)
    file.seek(0)
    return io.BufferedReader(_Unpacked(file), _BUFFER_BYTES) if magic == GZIP_MAGIC else file


class _Unpacked(io.RawIOBase):
    """Gzip content; unlike `gzip.GzipFile` it gives what stands before a cut, however large the reads are."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__()
        self._file = file
        self._member = zlib.decompressobj(_GZIP_WINDOW)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        while True:
            if self._member.eof:
                # Members may follow one another, and padding may follow the last.
                packed = (self._member.unused_data or self._file.read(_PACKED_BYTES)).lstrip(b"\0")
                if not packed:
                    return 0
                self._member = zlib.decompressobj(_GZIP_WINDOW)
            else:
                packed = self._member.unconsumed_tail or self._file.read(_PACKED_BYTES)
            data = self._member.decompress(packed, len(view))
            if data:
                view[: len(data)] = data
                return len(data)
            if not packed:
                raise EOFError


def _numbered(stream: io.BufferedReader, path: Path, tally: ReadTally) -> Iterator[tuple[int, bytes]]:
    too_long = False
    number = 0
    for piece in iter(partial(stream.readline, MAX_LINE_BYTES), b""):
        whole = piece.endswith(b"\n") or len(piece) < MAX_LINE_BYTES
        if too_long:
            too_long = not whole
            continue
        number += 1
        tally.lines += 1
        if not whole:
            too_long = True
            tally.report(ReadProblem(str(path), number, "line_too_long", f"longer than {MAX_LINE_BYTES >> 20} MiB"))
        elif line := piece.strip():
            yield number, line
