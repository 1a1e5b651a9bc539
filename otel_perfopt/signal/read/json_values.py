"""A file of JSON documents in (one array, one object, or one a line), its top-level values one at a time out."""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from otel_perfopt.signal.read.lines import decompressed
from otel_perfopt.signal.source import ReadProblem, ReadTally

MAX_VALUE_CHARS: Final = 64 << 20
_CHUNK_BYTES: Final = 1 << 18
_DECODER: Final = json.JSONDecoder()
_GAP: Final = re.compile(r"[\s,\ufeff]*")
_RECORD_START: Final = re.compile(r'\{\s*"[^"]{1,40}"\s*:')


@dataclass(frozen=True, slots=True)
class JsonValue:
    """One value: the line it begins on, the array it is in (0: none), its number in the file, and itself."""

    line: int
    array: int
    number: int
    value: Any


class JsonValues:
    """Reads values one after the other, holding one at a time; a broken one is reported and skipped.

    Problems: `broken_json` (one a place; reading goes on where the next record begins as the first
    one did), and those of unreadable files.
    """

    def __init__(self, path: Path, tally: ReadTally) -> None:
        self._path = path
        self._tally = tally
        self._text = ""
        self._position = 0
        self._line = 1
        self._arrays = 0
        self._inside = False
        self._start = ""
        self._wanted = _CHUNK_BYTES

    def __iter__(self) -> Iterator[JsonValue]:
        try:
            with self._path.open("rb") as file:
                yield from self._values(_texts(file, self._tally))
        except (EOFError, zlib.error) as error:
            yield from self._values(iter(()))
            kind = "truncated_gzip" if isinstance(error, EOFError) else "corrupt_gzip"
            self._report(kind, "the gzip file is cut off or corrupt from here on")
        except OSError as error:
            self._tally.report(
                ReadProblem(str(self._path), 0, "unreadable_file", f"cannot be read: {error.strerror or error}")
            )

    def _values(self, texts: Iterator[str]) -> Iterator[JsonValue]:
        number = 0
        while self._skip_gap(texts):
            begin = self._position
            value = self._decode(texts)
            if value is not _BROKEN:
                line = self._line
                self._start = self._start or _record_start(self._text, begin)
                self._advance(self._next)
                self._tally.lines = self._tally.lines + 1
                yield JsonValue(line, self._arrays if self._inside else 0, number, value)
                number += 1

    def _skip_gap(self, texts: Iterator[str]) -> bool:
        """Move to the next value; return False at the end."""
        while True:
            self._advance(_end(_GAP.match(self._text, self._position)))
            if self._position >= len(self._text):
                if not self._more(texts):
                    return False
            elif self._text[self._position] == "[" and not self._inside:
                self._inside = True
                self._arrays += 1
                self._advance(self._position + 1)
            elif self._text[self._position] == "]" and self._inside:
                self._inside = False
                self._advance(self._position + 1)
            else:
                return True

    def _decode(self, texts: Iterator[str]) -> Any:
        while True:
            try:
                value, self._next = _DECODER.raw_decode(self._text, self._position)
            except (ValueError, RecursionError) as error:
                if len(self._text) - self._position < MAX_VALUE_CHARS and self._more(texts):
                    continue
                self._report("broken_json", f"broken JSON ({_first_line(error)})")
                self._resume(texts)
                return _BROKEN
            return value

    def _resume(self, texts: Iterator[str]) -> None:
        found = self._text.find(self._start, self._position + 1) if self._start else -1
        while found < 0 and self._start and self._more(texts):
            found = self._text.find(self._start, self._position + 1)
        self._advance(found if found >= 0 else len(self._text))

    def _advance(self, position: int) -> None:
        self._line += self._text.count("\n", self._position, position)
        self._position = position

    def _more(self, texts: Iterator[str]) -> bool:
        """Read as much again as is held: decoding a long value anew each time stays linear."""
        rest = self._text[self._position :]
        pieces, have = [rest], 0
        for piece in texts:
            pieces.append(piece)
            have += len(piece)
            if have >= len(rest):
                break
        self._text, self._position = "".join(pieces), 0
        return have > 0

    _next = 0

    def _report(self, kind: str, message: str) -> None:
        self._tally.report(ReadProblem(str(self._path), self._line, kind, message))


_BROKEN: Final = object()


def _texts(file: BufferedReader, tally: ReadTally) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    stream = decompressed(file)
    counted = 0
    while chunk := stream.read1(_CHUNK_BYTES):
        tally.bytes, counted = tally.bytes + file.tell() - counted, file.tell()
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)


def _record_start(text: str, begin: int) -> str:
    match = _RECORD_START.match(text, begin)
    return match.group() if match else ""


def _end(match: re.Match[str] | None) -> int:
    return match.end() if match else 0


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
