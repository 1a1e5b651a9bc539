"""Files of OTLP JSON lines in, what is new in them in the store out, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from otel_perfopt.measure.store.import_target import ImportTarget
from otel_perfopt.measure.store.imported_files import FileState, content_identity, first_line_identity, tail_digest
from otel_perfopt.measure.store.otlp_import import OtlpImport, is_gzip
from otel_perfopt.signal.read import sniff
from otel_perfopt.signal.read.otlp_file import OtlpFileSource
from otel_perfopt.signal.read.recorded import FoundFile
from otel_perfopt.signal.source import ReadTally

_WITH_LOGS: Final = "otlp with logs"


@dataclass(slots=True)
class OtlpFiles:
    """Imports each file from where it ended the last time."""

    target: ImportTarget
    _log_has_grown: bool = False

    def take(self, files: Sequence[FoundFile]) -> None:
        """Import the files.

        Raises:
            StoreError: the store cannot be written.
        """
        with_logs = [file for file in files if self._take(file)]
        # The events of one turn (Codex's) may lie in several files: where one has grown, all are read.
        if self._log_has_grown:
            source = OtlpFileSource([file.path for file in with_logs], ReadTally())
            before = self.target.appended
            self.target.put_all(source.batches())
            self.target.tally.spans += self.target.appended.added - before.added

    def _take(self, file: FoundFile) -> bool:
        """Import one file; tell whether it holds log records."""
        packed = is_gzip(file.path)
        try:
            identity = content_identity([file.path]) if packed else first_line_identity(file.path)
            state = self._state(identity, file, packed=packed)
        except OSError as error:
            self.target.cannot_read(file, error)
            return False
        if state is not None and state.bytes == file.size:
            self.target.pass_over([file])
            return state.kind == _WITH_LOGS
        return self._read(file, state or FileState(identity, str(file.path), sniff.OTLP), packed=packed)

    def _state(self, identity: str, file: FoundFile, *, packed: bool) -> FileState | None:
        """Return how far this very file was imported; another one may begin with the same line."""
        state = self.target.files.state(identity)
        if state is None or packed:
            return state
        same = state.bytes <= file.size and tail_digest(file.path, state.bytes) == state.tail_digest
        return state if same else None

    def _read(self, file: FoundFile, state: FileState, *, packed: bool) -> bool:
        reader = OtlpImport(file.path, self.target.tally)
        self.target.tally.files += 1
        begin = state
        for batch in reader.batches(state.bytes, state.lines):
            self.target.put(batch.spans)
            state = replace(
                state,
                path=str(file.path),
                kind=_WITH_LOGS if reader.has_logs else state.kind,
                bytes=batch.bytes,
                lines=batch.lines,
                spans=state.spans + len(batch.spans),
            )
            if not packed and state.bytes > begin.bytes:
                self.target.files.save(replace(state, tail_digest=tail_digest(file.path, state.bytes)))
        if packed:
            self.target.files.save(replace(state, bytes=file.size))
        self._log_has_grown |= reader.has_logs
        return state.kind == _WITH_LOGS
