"""A plain or gzip file in, its numbered lines out; whatever cannot be read becomes a counted problem."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final, cast

from otel_perfopt.signal.source import ReadProblem, ReadTally

GZIP_MAGIC: Final = b"\x1f\x8b"
MAX_LINE_BYTES: Final = 64 << 20
_BUFFER_BYTES: Final = 1 << 18
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
    except (zlib.error, gzip.BadGzipFile) as error:
        tally.report(
            ReadProblem(str(path), number + 1, "corrupt_gzip", f"the gzip data is corrupt from here on: {error}")
        )
    except OSError as error:
        tally.report(ReadProblem(str(path), number, "unreadable_file", f"cannot be read: {error.strerror or error}"))


def decompressed(file: io.BufferedReader) -> io.BufferedReader:
    """Return a buffered stream of the file's content, unpacked when it starts as gzip does; `file` stays the caller's."""
    magic = file.read(2)
    file.seek(0)
    if magic != GZIP_MAGIC:
        return file
    return io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=file)), _BUFFER_BYTES)


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
