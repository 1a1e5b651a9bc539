"""Rows of prompt, output and start time (lmcache-agent-trace) in, one trace a session out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from otel_perfopt.signal.read.json_lines import read_json_lines
from otel_perfopt.signal.read.last_places import LastPlaces
from otel_perfopt.signal.read.prompt_trace_spans import PromptRow, session_spans
from otel_perfopt.signal.record import SpanRecord
from otel_perfopt.signal.source import ReadProblem, ReadTally


class PromptTraceSource:
    """Reads rows `{timestamp, input, output, session_id}`; a `SpanSource` in the memory of the sessions under way.

    `timestamp` is when the request began, in microseconds since 1970, and rows need not be in order.
    How long a call took is not recorded: it lasts until the session's next row at most, tools
    included, and is marked `perfopt.duration.estimated`. Tokens are estimated at four characters
    each. What is resent is the longest beginning that the prompt shares with one of the session's
    last sixteen. Commands in the replies (mini-swe-agent) become tool calls.
    """

    def __init__(self, paths: Sequence[Path], tally: ReadTally | None = None) -> None:
        self._paths = paths
        self._tally = ReadTally() if tally is None else tally

    @property
    def tally(self) -> ReadTally:
        """What has been read so far, and what could not be."""
        return self._tally

    def batches(self) -> Iterator[tuple[SpanRecord, ...]]:
        """Yield one batch a session."""
        for path in self._paths:
            self._tally.files += 1
            for rows in self._sessions(path):
                spans = session_spans(rows, str(path))
                self._tally.spans += len(spans)
                yield spans

    def _sessions(self, path: Path) -> Iterator[list[PromptRow]]:
        lasts = LastPlaces()
        for line, raw in read_json_lines(path, ReadTally()):
            lasts.note(_session(raw, path), line)
        under_way: dict[str, list[PromptRow]] = {}
        for line, raw in read_json_lines(path, self._tally):
            session = _session(raw, path)
            row = _row(raw, line)
            if row is None:
                message = "a row without a time in microseconds, a prompt and an output"
                self._tally.report(ReadProblem(str(path), line, "malformed_record", message))
            else:
                under_way.setdefault(session, []).append(row)
            if lasts.last(session) == line and session in under_way:
                yield under_way.pop(session)
        yield from under_way.values()


def _session(raw: Mapping[str, Any], path: Path) -> str:
    session = raw.get("session_id")
    return str(session) if isinstance(session, (str, int)) and session != "" else path.name.split(".")[0]


def _row(raw: Mapping[str, Any], line: int) -> PromptRow | None:
    moment, prompt, output = raw.get("timestamp"), raw.get("input"), raw.get("output")
    if isinstance(moment, bool) or not isinstance(moment, (int, float)) or not 0 < moment < 1 << 62:
        return None
    if not isinstance(prompt, str) or not isinstance(output, str):
        return None
    session = raw.get("session_id")
    return PromptRow(int(moment) * 1000, prompt, output, line, str(session) if session is not None else "")
