"""A folder that processes write OTLP JSON lines into, in; traces that are complete since the last look, out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from os import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO, Final

from otel_perfopt.conventions import GEN_AI_EVALUATION_RESULT_EVENT
from otel_perfopt.signal.read.json_lines import objects_of
from otel_perfopt.signal.read.otlp_file import RECORD_START
from otel_perfopt.signal.read.otlp_line import spans_of
from otel_perfopt.signal.record import SpanRecord
from otel_perfopt.signal.source import ReadProblem, ReadTally

_CHUNK_BYTES: Final = 4 << 20
_MOST_OPEN: Final = 50_000
_MOST_REMEMBERED: Final = 200_000
_MOST_KEPT_DONE: Final = 5_000


@dataclass(slots=True)
class _OpenTrace:
    first_seen_ns: int
    spans: list[SpanRecord] = field(default_factory=list)
    root_seen_ns: int | None = None
    root_ended_ns: int = 0


class OtlpTail:
    """Follows every `*.jsonl` file of a folder, each byte read once.

    A trace is complete `grace_s` after its root span was read, since spans of calls that nobody
    waited for may end after the command, or at once when that root ended `settled_s` ago; without a
    root, after `patience_s`. What comes later is counted as `late_span`, but for judgements, which people
    give when they have read the answer: those are kept for `take_judgements`. Open traces are bounded:
    the oldest are given up as they are.
    """

    def __init__(
        self, folder: Path, *, grace_s: float = 1.0, settled_s: float = 15.0, patience_s: float = 600.0
    ) -> None:
        self._folder = folder
        self._grace_ns = int(grace_s * 1e9)
        self._settled_ns = int(settled_s * 1e9)
        self._patience_ns = int(patience_s * 1e9)
        self._offsets: dict[Path, int] = {}
        self._lines: dict[Path, int] = {}
        self._open: OrderedDict[str, _OpenTrace] = OrderedDict()
        self._done: OrderedDict[str, None] = OrderedDict()
        self._judgements: list[SpanRecord] = []
        self._stopped_at: Path | None = None
        self.tally = ReadTally()

    @property
    def behind(self) -> bool:
        """Whether the last `read` had enough before it came to the end of what there is."""
        return self._stopped_at is not None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that were read so far and are still there."""
        return tuple(self._offsets)

    def state(self) -> dict[str, Any]:
        """Return where it stands, as data from which another one goes on."""
        offsets = {path.name: (offset, self._lines.get(path, 0)) for path, offset in self._offsets.items()}
        kept = (self._open, list(self._done)[-_MOST_KEPT_DONE:], self._judgements, self.tally)
        return {"offsets": offsets, "kept": kept}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Go on where another one stood; late spans of traces done long before that are no longer told as late."""
        offsets = state["offsets"].items()
        self._offsets = {self._folder / name: int(offset) for name, (offset, _) in offsets}
        self._lines = {self._folder / name: int(line) for name, (_, line) in offsets}
        self._open, done, self._judgements, self.tally = state["kept"]
        self._done = OrderedDict.fromkeys(done)

    def take_judgements(self) -> tuple[SpanRecord, ...]:
        """Return the spans with an evaluation that came after their trace was done, each once."""
        taken, self._judgements = tuple(self._judgements), []
        return taken

    def read(self, now_ns: int, enough: Callable[[], bool] = lambda: False) -> Iterator[tuple[SpanRecord, ...]]:
        """Read what was appended, in pieces, and yield the traces that are complete at `now_ns`.

        After a piece of which `enough` says so it stops, and the next `read` goes on with the file after it.
        """
        paths = sorted(self._folder.glob("*.jsonl")) if self._folder.is_dir() else []
        for gone in self._offsets.keys() - set(paths):
            del self._offsets[gone]
            del self._lines[gone]
        for path in self._in_turn(paths):
            for spans in self._appended(path):
                for span in spans:
                    self._take(span, now_ns)
                # Between pieces, so that years of telemetry are never held at once.
                yield from self._finished(now_ns)
                if enough():
                    self._stopped_at = path
                    return
        self._stopped_at = None
        yield from self._finished(now_ns)

    def _in_turn(self, paths: Sequence[Path]) -> Sequence[Path]:
        """Return the files with the one after the last piece first, so that one that grows fast starves no other."""
        if self._stopped_at not in paths:
            return paths
        after = paths.index(self._stopped_at) + 1
        return [*paths[after:], *paths[:after]]

    def _finished(self, now_ns: int) -> list[tuple[SpanRecord, ...]]:
        return [self._finish(trace) for trace in self._complete(now_ns)]

    def _appended(self, path: Path) -> Iterator[Iterator[SpanRecord]]:
        if path not in self._offsets:
            self.tally.files += 1
        offset = self._offsets.setdefault(path, 0)
        self._lines.setdefault(path, 0)
        try:
            with path.open("rb") as file:
                offset = self._same_file(path, file, offset)
                file.seek(offset)
                while chunk := file.read(_CHUNK_BYTES):
                    # A torn tail is a line still being written: it is read once it has its end.
                    whole = chunk[: chunk.rfind(b"\n") + 1] or self._long_line(file, chunk)
                    if not whole:
                        return
                    offset += len(whole)
                    self._offsets[path] = offset
                    file.seek(offset)
                    yield self._spans(path, whole)
        except OSError as error:
            self.tally.report(
                ReadProblem(str(path), 0, "unreadable_file", f"cannot be read: {error.strerror or error}")
            )

    def _same_file(self, path: Path, file: BinaryIO, offset: int) -> int:
        """Return where to go on; a file that became shorter is another one and is read from its beginning."""
        if file.seek(0, SEEK_END) >= offset:
            return offset
        self.tally.report(ReadProblem(str(path), 0, "replaced_file", "became shorter and is read again"))
        self._lines[path] = 0
        return 0

    @staticmethod
    def _long_line(file: BinaryIO, chunk: bytes) -> bytes:
        if len(chunk) < _CHUNK_BYTES:
            return b""
        rest = file.readline()
        return chunk + rest if rest.endswith(b"\n") else b""

    def _spans(self, path: Path, text: bytes) -> Iterator[SpanRecord]:
        for line in text.splitlines():
            self._lines[path] += 1
            self.tally.lines += 1
            if not line.strip():
                continue
            number = self._lines[path]
            complain = partial(self._complain, path, number)
            for value in objects_of(line, path, number, self.tally, restart=RECORD_START):
                yield from spans_of(value, f"{path}:{number}", complain)
        self.tally.bytes += len(text)

    def _complain(self, path: Path, number: int, message: str) -> None:
        self.tally.report(ReadProblem(str(path), number, "broken_span", message))

    def _take(self, span: SpanRecord, now_ns: int) -> None:
        self.tally.spans += 1
        if span.trace_id in self._done:
            if any(event.name == GEN_AI_EVALUATION_RESULT_EVENT for event in span.events):
                self._judgements.append(span)
                del self._judgements[:-_MOST_OPEN]
                return
            self.tally.report(ReadProblem(span.location, 0, "late_span", f"span {span.name} of a trace that was done"))
            return
        trace = self._open.setdefault(span.trace_id, _OpenTrace(now_ns))
        trace.spans.append(span)
        if not span.parent_span_id:
            trace.root_seen_ns = now_ns
            trace.root_ended_ns = span.end_ns

    def _complete(self, now_ns: int) -> list[str]:
        too_many = len(self._open) - _MOST_OPEN
        return [
            trace_id
            for place, (trace_id, trace) in enumerate(self._open.items())
            if place < too_many or self._is_complete(trace, now_ns)
        ]

    def _is_complete(self, trace: _OpenTrace, now_ns: int) -> bool:
        if trace.root_seen_ns is not None:
            settled = now_ns - trace.root_ended_ns >= self._settled_ns
            return settled or now_ns - trace.root_seen_ns >= self._grace_ns
        return now_ns - trace.first_seen_ns >= self._patience_ns

    def _finish(self, trace_id: str) -> tuple[SpanRecord, ...]:
        self._done[trace_id] = None
        while len(self._done) > _MOST_REMEMBERED:
            self._done.popitem(last=False)
        return tuple(self._open.pop(trace_id).spans)
