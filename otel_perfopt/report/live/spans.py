"""Spans as they are written in, the live window of commands, tools and models and the runs in flight out."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from otel_perfopt.execution.model import StepKind
from otel_perfopt.execution.span_kind import kind_of, name_of
from otel_perfopt.execution.usage import usage_of
from otel_perfopt.report.live.growing_files import GrowingFiles
from otel_perfopt.report.live.window import LiveWindow, RowKind
from otel_perfopt.signal.read.json_lines import objects_of
from otel_perfopt.signal.read.otlp_file import RECORD_START
from otel_perfopt.signal.read.otlp_line import spans_of
from otel_perfopt.signal.record import SpanRecord
from otel_perfopt.signal.source import ReadTally

_ROWS = {StepKind.COMMAND: RowKind.COMMAND, StepKind.TOOL: RowKind.TOOL, StepKind.INFERENCE: RowKind.MODEL}
MOST_RUNS = 10_000
# A run that nothing was heard of for so long has died, or ended unseen.
_SILENT_NS = 10 * 60 * 10**9


@dataclass(slots=True)
class _Run:
    """A run whose command has not ended yet: when something of it was last heard, and its tokens so far."""

    heard_ns: int
    tokens_in: int = 0
    tokens_out: int = 0


class LiveSpans:
    """Follows a telemetry folder; what cannot be read is counted in `tally`."""

    def __init__(self, folder: Path, window: LiveWindow) -> None:
        self._window = window
        self._folder = folder
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self.files = GrowingFiles(folder)
        self.tally = ReadTally()

    @property
    def in_flight(self) -> int:
        """How many runs have shown a step and not ended."""
        return len(self._runs)

    def look(self, now_ns: int) -> None:
        """Read what was written since the last look."""
        for line in self.files.appended():
            if not line.strip():
                continue
            for value in objects_of(line, self._folder, self.files.lines, self.tally, restart=RECORD_START):
                for span in spans_of(value, str(self._folder), lambda _message: None):
                    self._take(span, now_ns)
        self._forget(now_ns)

    def _take(self, span: SpanRecord, now_ns: int) -> None:
        kind = kind_of(span, inside_command=bool(span.parent_span_id))
        run = self._run_of(span)
        tokens_in, tokens_out = 0, 0
        if kind is StepKind.INFERENCE:
            usage = usage_of(span.attributes)
            tokens_in, tokens_out = usage.input or 0, usage.output or 0
            if run is not None:
                run.tokens_in += tokens_in
                run.tokens_out += tokens_out
        elif kind is StepKind.COMMAND and run is not None:
            tokens_in, tokens_out = run.tokens_in, run.tokens_out
        if not span.parent_span_id:
            self._end(span.trace_id)
        row = _ROWS.get(kind)
        if row is None:
            return
        counts = self._window.slot(row, name_of(span, kind), (span.start_ns, span.end_ns), now_ns)
        if counts is not None:
            counts.add_duration((span.end_ns - span.start_ns) / 1e9)
            counts.errors += span.error_type is not None
            counts.tokens_in += tokens_in
            counts.tokens_out += tokens_out

    def _run_of(self, span: SpanRecord) -> _Run | None:
        """Return the run that a span belongs to; None once it has ended."""
        if span.trace_id in self._ended:
            return None
        run = self._runs.get(span.trace_id)
        if run is None:
            run = self._runs[span.trace_id] = _Run(span.end_ns)
            if len(self._runs) > MOST_RUNS:
                self._runs.popitem(last=False)
        run.heard_ns = max(run.heard_ns, span.end_ns)
        return run

    def _end(self, trace_id: str) -> None:
        self._runs.pop(trace_id, None)
        self._ended[trace_id] = None
        if len(self._ended) > MOST_RUNS:
            self._ended.popitem(last=False)

    def _forget(self, now_ns: int) -> None:
        for trace_id in [key for key, run in self._runs.items() if now_ns - run.heard_ns > _SILENT_NS]:
            del self._runs[trace_id]
