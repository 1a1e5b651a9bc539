"""Files that only make sense whole (transcripts, trajectories, prompt traces) in, their spans in the store out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from otel_perfopt.measure.store.import_target import ImportTarget
from otel_perfopt.measure.store.imported_files import FileState, content_identity
from otel_perfopt.signal.read import sniff
from otel_perfopt.signal.read.prompt_trace import PromptTraceSource
from otel_perfopt.signal.read.recorded import FoundFile
from otel_perfopt.signal.read.trajectory import TrajectorySource
from otel_perfopt.signal.read.transcript import TranscriptSource
from otel_perfopt.signal.source import ReadTally, SpanSource

_SUBAGENTS: Final = "subagents"
_SOURCES: Final[dict[str, Callable[[Sequence[Path], ReadTally], SpanSource]]] = {
    sniff.TRANSCRIPT: TranscriptSource,
    sniff.TRAJECTORY: TrajectorySource,
    sniff.PROMPT_TRACE: PromptTraceSource,
}


def import_whole(target: ImportTarget, found: Sequence[FoundFile]) -> None:
    """Import every such file that has changed; what is known of it already is not written again.

    The transcripts of one folder belong together: a resumed session tells an earlier one again, and
    a subagent's file only makes sense beside its session's.

    Raises:
        StoreError: the store cannot be written.
    """
    for kind, source in _SOURCES.items():
        for files in _groups([file for file in found if file.kind == kind], kind):
            _import(target, files, kind, source)


def _import(
    target: ImportTarget,
    files: Sequence[FoundFile],
    kind: str,
    source: Callable[[Sequence[Path], ReadTally], SpanSource],
) -> None:
    paths = [file.path for file in files]
    try:
        identity = content_identity(paths)
    except OSError as error:
        target.cannot_read(files[0], error)
        return
    if target.files.state(identity) is not None:
        target.pass_over(files)
        return
    spans = target.put_all(source(paths, target.tally).batches(), one_span_id=kind == sniff.TRANSCRIPT)
    size = sum(file.size for file in files)
    target.files.save(FileState(identity, str(paths[0]), kind, bytes=size, spans=spans))


def _groups(files: Sequence[FoundFile], kind: str) -> list[list[FoundFile]]:
    if kind != sniff.TRANSCRIPT:
        return [[file] for file in files]
    groups: dict[Path, list[FoundFile]] = {}
    for file in files:
        folder = file.path.parent
        groups.setdefault(folder.parent.parent if folder.name == _SUBAGENTS else folder, []).append(file)
    return list(groups.values())
