"""Files of OTLP JSON lines (the Collector's file format) in, whole traces out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from otel_perfopt.signal.read.codex_log import LOGS, events_of
from otel_perfopt.signal.read.codex_turns import CodexTurns
from otel_perfopt.signal.read.json_lines import objects_of
from otel_perfopt.signal.read.last_places import LastPlaces
from otel_perfopt.signal.read.lines import read_lines
from otel_perfopt.signal.read.otlp_line import OTHER_SIGNALS, TRACES, spans_of
from otel_perfopt.signal.record import SpanRecord
from otel_perfopt.signal.source import ReadProblem, ReadTally

RECORD_START: Final = '{"resource'
_TRACE_ID: Final = re.compile(rb'"traceId"\s*:\s*"([^"]{1,64})"')


class OtlpFileSource:
    """Reads OTLP JSON lines, plain or gzip; a `SpanSource` in the memory of the traces under way.

    A trace's spans lie in many lines and files, in any order. A first pass notes the last line that
    names each trace (64 bytes a trace); the second hands a trace on right after that line. Lines of
    metrics, logs and profiles are passed over, but for Codex's log events, which become traces at the
    end. Lines written between the two passes are left for the
    next time.
    """

    def __init__(self, paths: Sequence[Path], tally: ReadTally | None = None) -> None:
        self._paths = paths
        self._tally = ReadTally() if tally is None else tally
        self._codex = CodexTurns()

    @property
    def tally(self) -> ReadTally:
        """What has been read so far, and what could not be."""
        return self._tally

    def batches(self) -> Iterator[tuple[SpanRecord, ...]]:
        """Yield the traces that end on one line together."""
        lasts, ends = self._last_places()
        under_way: dict[str, list[SpanRecord]] = {}
        place = 0
        for path, end in zip(self._paths, ends, strict=True):
            self._tally.files += 1
            for number, ids, spans in self._lines(path, end):
                for span in spans:
                    under_way.setdefault(span.trace_id, []).append(span)
                ended = sorted(trace for trace in ids if trace in under_way and lasts.last(trace) == place + number)
                finished = [under_way.pop(trace) for trace in ended]
                if finished:
                    yield tuple(span for trace in finished for span in trace)
            place += end
        # Ids in another notation (base64) are not found again by their text.
        for trace in under_way.values():
            yield tuple(trace)
        for turn in self._codex.batches():
            self._tally.spans += len(turn)
            yield turn

    def _last_places(self) -> tuple[LastPlaces, list[int]]:
        lasts, ends = LastPlaces(), []
        place = 0
        for path in self._paths:
            last = 0
            for last, line in read_lines(path, ReadTally()):
                for trace in _ids(line):
                    lasts.note(trace, place + last)
            ends.append(last)
            place += last
        return lasts, ends

    def _lines(self, path: Path, end: int) -> Iterator[tuple[int, set[str], tuple[SpanRecord, ...]]]:
        """Yield, for each line up to `end`, its number, the traces it names and its spans."""
        for number, line in read_lines(path, self._tally):
            if number > end:
                return
            spans: list[SpanRecord] = []
            complain = partial(self._complain, path, number)
            for value in objects_of(line, path, number, self._tally, restart=RECORD_START):
                if TRACES in value:
                    spans.extend(spans_of(value, f"{path}:{number}", complain))
                elif LOGS in value:
                    self._codex.take_all(events_of(value, f"{path}:{number}"))
                elif not any(signal in value for signal in OTHER_SIGNALS):
                    complain("an object that is no OTLP record")
            self._tally.spans += len(spans)
            yield number, _ids(line), tuple(spans)

    def _complain(self, path: Path, number: int, message: str) -> None:
        self._tally.report(ReadProblem(str(path), number, "broken_span", message))


def _ids(line: bytes) -> set[str]:
    return {identity.decode("ascii", "replace").lower() for identity in _TRACE_ID.findall(line)}
