"""Lines in, JSON objects out; glued and broken lines give what can be recovered and a counted problem."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from otel_perfopt.signal.read.lines import read_lines
from otel_perfopt.signal.source import ReadProblem, ReadTally

_DECODER: Final = json.JSONDecoder()
_SPACE: Final = re.compile(r"\s*")
_SHOWN_CHARS: Final = 60
_MAX_GAP: Final = 1024


def read_json_lines(path: Path, tally: ReadTally, restart: str = "") -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON-lines file.

    A line that holds several objects one after the other gives them all. In a broken line, reading
    starts again at each `restart` (how a record begins), so that a record written right behind a cut
    one is found. Problems: `glued_line` (everything recovered), `broken_line` (something lost).
    """
    for number, line in read_lines(path, tally):
        for item in objects_of(line, path, number, tally, restart=restart):
            yield number, item


def objects_of(
    line: bytes, path: Path, number: int, tally: ReadTally, *, restart: str = ""
) -> Iterable[dict[str, Any]]:
    """Return the objects on one line, as `read_json_lines` does."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        broken = _BrokenLine(str(path), number, line.decode("utf-8", "replace"), str(error))
        return _recover(broken, restart, tally)
    if isinstance(value, dict):
        return (value,)
    found = f"expected an object, found {type(value).__name__}"
    tally.report(ReadProblem(str(path), number, "broken_line", found))
    return ()


@dataclass(frozen=True, slots=True)
class _BrokenLine:
    path: str
    number: int
    text: str
    error: str

    def report(self, recovered: int, lost: int) -> ReadProblem:
        if lost or "\ufffd" in self.text:
            shown = self.text[:_SHOWN_CHARS]
            message = f"broken JSON ({self.error}), {recovered} record(s) recovered: {shown!r}"
            return ReadProblem(self.path, self.number, "broken_line", message)
        return ReadProblem(self.path, self.number, "glued_line", f"{recovered} records on one line, all recovered")


def _recover(problem: _BrokenLine, restart: str, tally: ReadTally) -> Iterator[dict[str, Any]]:
    text = problem.text
    position = recovered = lost = 0
    while 0 <= position < len(text):
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            lost += 1
            position = text.find(restart, position + 1) if restart else -1
            continue
        position += len(_SPACE.findall(text, position, position + _MAX_GAP)[0])
        if isinstance(value, dict):
            recovered += 1
            yield value
        else:
            lost += 1
    tally.report(problem.report(recovered, lost))
