"""Files and folders of recorded telemetry in, one `SpanSource` over all of them out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_perfopt.signal.read import sniff
from otel_perfopt.signal.read.otlp_file import OtlpFileSource
from otel_perfopt.signal.read.prompt_trace import PromptTraceSource
from otel_perfopt.signal.read.seen import SeenIds
from otel_perfopt.signal.read.trajectory import TrajectorySource
from otel_perfopt.signal.read.transcript import TranscriptSource
from otel_perfopt.signal.record import SpanRecord
from otel_perfopt.signal.source import ReadProblem, ReadTally, SpanSource

# In a folder, only these are looked into: a project holds much that was never meant to be read. A
# file that is named outright is read whatever it is called.
SUFFIXES: Final = (".jsonl", ".json", ".ndjson")
_ARCHIVES: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip", ".7z")
_TABLE: Final = (
    "a table (CSV), not the telemetry of an agent: nothing in it says which run, step or tool a row belongs to. "
    "Telemetry comes as OTLP JSON lines, session transcripts or chats with tool calls"
)
_MOST_NAMED: Final = 5
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that holds telemetry: its size on disk and its kind, one of `sniff`'s."""

    path: Path
    size: int
    kind: str


def open_recorded(paths: Sequence[Path], on_progress: Progress | None = None) -> SpanSource:
    """Return a source over the files and folders given (folders with all below them).

    Formats are told by content. `on_progress(done, total)` is called with bytes on disk while
    `batches` runs. Nothing is read before that; whatever cannot be read is in the tally.
    """
    return RecordedSource(paths, on_progress)


class RecordedSource:
    """Walks, sniffs and reads; one tally over everything. Files are read in the order of their paths."""

    def __init__(self, paths: Sequence[Path], on_progress: Progress | None = None) -> None:
        self._paths = paths
        self._on_progress = on_progress
        self._tally = ReadTally()

    @property
    def tally(self) -> ReadTally:
        """What has been read so far, and what could not be."""
        return self._tally

    def batches(self) -> Iterator[tuple[SpanRecord, ...]]:
        """Yield batches of whole traces, OTLP files last and together, since a trace may lie in several."""
        found = self.found()
        total = sum(file.size for file in found)
        for source in self._sources(found):
            for batch in source.batches():
                self._tell(total)
                yield batch
        self._tell(total, done=True)

    def _tell(self, total: int, *, done: bool = False) -> None:
        if self._on_progress is not None:
            self._on_progress(total if done else min(self._tally.bytes, total), total)

    def _sources(self, found: Sequence[FoundFile]) -> Iterator[SpanSource]:
        seen = SeenIds()
        for file in found:
            if file.kind == sniff.TRANSCRIPT:
                yield TranscriptSource([file.path], self._tally, seen)
            elif file.kind == sniff.TRAJECTORY:
                yield TrajectorySource([file.path], self._tally)
            elif file.kind == sniff.PROMPT_TRACE:
                yield PromptTraceSource([file.path], self._tally)
        otlp = [file.path for file in found if file.kind == sniff.OTLP]
        if otlp:
            yield OtlpFileSource(otlp, self._tally)

    def found(self) -> list[FoundFile]:
        """Return the files that would be read, in order; what is none goes into the tally."""
        found: list[FoundFile] = []
        for path in dict.fromkeys(file for given in self._paths for file in self._walk(given)):
            sniffed = sniff.sniff(path)
            if sniffed.problem is not None:
                self._tally.report(sniffed.problem)
            if sniffed.kind is not None:
                found.append(FoundFile(path, _size(path), sniffed.kind))
        return found

    def _walk(self, path: Path) -> Iterator[Path]:
        if not path.is_dir():
            if path.exists() or path.is_symlink():
                yield path
            else:
                self._report(path, "missing_file", "there is no such file or folder")
            return
        seen_any, passed = False, []
        for folder, folders, files in os.walk(path, onerror=self._unreadable):
            folders.sort()
            # A session tells which call started a subagent, so it is read before the subagent's own file.
            for file in sorted(files, key=lambda name: (name.startswith("agent-"), name)):
                if _is_candidate(file):
                    seen_any = True
                    yield Path(folder, file)
                else:
                    passed.append(Path(folder, file))
        if not seen_any:
            expected = ", ".join(SUFFIXES)
            self._report(
                path, "empty_folder", f"no file with recorded telemetry in this folder ({expected}, or with .gz)"
            )
            for other in passed[:_MOST_NAMED]:
                self._name(other)

    def _name(self, path: Path) -> None:
        """Say what lies in a folder without telemetry, where that tells what to do."""
        name = path.name.lower()
        if name.endswith(_ARCHIVES):
            self._report(path, "archive", "an archive; unpack it, and name the folder that gives")
        elif name.removesuffix(".gz").endswith(".csv"):
            self._report(path, "table", _TABLE)

    def _unreadable(self, error: OSError) -> None:
        self._report(Path(error.filename or "."), "unreadable_folder", f"cannot be read: {error.strerror or error}")

    def _report(self, path: Path, kind: str, message: str) -> None:
        self._tally.report(ReadProblem(str(path), 0, kind, message))


def _is_candidate(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith(SUFFIXES) and not name.startswith(".")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
