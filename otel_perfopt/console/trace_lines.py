"""Where a trace was recorded: a home folder and a trace's id in, the telemetry lines that name it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from otel_perfopt.execution.builder import executions_of
from otel_perfopt.execution.model import Execution
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER
from otel_perfopt.signal.read.otlp_line import spans_of

_MOST_BYTES = 256 << 20


def trace_lines(home: Path, trace_id: str) -> Iterator[Mapping[str, Any]]:
    """Yield the lines of telemetry that name a trace; the newest files are looked through first, as far as 256 MiB."""
    left = _MOST_BYTES
    folder = home / TELEMETRY_FOLDER
    files = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    wanted = trace_id.encode()
    for file in files:
        with file.open("rb") as stream:
            for line in stream:
                left -= len(line)
                if wanted in line and (said := _parsed(line)) is not None:
                    yield said
        if left <= 0:
            return


def recorded_run(home: Path, trace_id: str, span_id: str = "") -> Execution | None:
    """Return the finished run of a trace (and of a span in it) from what is on disk; None where there is none."""
    spans = [
        span
        for line in trace_lines(home, trace_id)
        for span in spans_of(line, "", lambda _problem: None)
        if span.trace_id == trace_id
    ]
    found = [run for run in executions_of(spans) if run.finished]
    of_span = (run for run in found if any(step.span_id == span_id for step in (run.command, *run.steps)))
    return next(of_span, found[0] if found else None)


def _parsed(line: bytes) -> Mapping[str, Any] | None:
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) else None
