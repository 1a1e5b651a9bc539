"""How far each file has been imported: a file's identity in, its last committed state out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from otel_perfopt.measure.store.connection import Connection

_HEAD_BYTES: Final = 1 << 16
_TAIL_BYTES: Final = 1 << 12
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FileState:
    """A file's import up to `bytes`; `tail_digest` proves that what was before is still the same."""

    identity: str
    path: str
    kind: str
    bytes: int = 0
    lines: int = 0
    tail_digest: str = ""
    spans: int = 0


class ImportedFiles:
    """The store's memory of what it has read.

    A state is saved after its spans are on disk: a crash between the two reads some lines again, and
    `append` knows their spans.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def state(self, identity: str) -> FileState | None:
        """Return the last committed state; None for a file that is new."""
        rows = self._connection.rows(
            "SELECT Identity, Path, Kind, Bytes, Lines, TailDigest, Spans FROM perfopt_imported_files "
            "WHERE Identity = {identity:String} ORDER BY At DESC LIMIT 1",
            {"identity": identity},
        )
        return FileState(*rows[0]) if rows else None

    def of_kind(self, kind: str) -> frozenset[str]:
        """Return the identities of every file of a kind."""
        rows = self._connection.rows(
            "SELECT DISTINCT Identity FROM perfopt_imported_files WHERE Kind = {kind:String}", {"kind": kind}
        )
        return frozenset(str(identity) for (identity,) in rows)

    def save(self, state: FileState) -> None:
        """Commit a state."""
        path = state.path.encode("utf-8", "backslashreplace").decode()
        self._connection.run(
            "INSERT INTO perfopt_imported_files (Identity, Path, Kind, Bytes, Lines, TailDigest, Spans) "
            "SELECT {identity:String}, {path:String}, {kind:String}, {bytes:UInt64}, {lines:UInt64}, {tail:String}, "
            "{spans:UInt64}",
            {
                "identity": state.identity,
                "path": path,
                "kind": state.kind,
                "bytes": state.bytes,
                "lines": state.lines,
                "tail": state.tail_digest,
                "spans": state.spans,
            },
        )


def first_line_identity(path: Path) -> str:
    """Return what stays the same while a file of lines grows, is renamed or moved.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        line, _, _ = file.read(_HEAD_BYTES).partition(b"\n")
    return blake2b(line, digest_size=16).hexdigest()


def tail_digest(path: Path, end: int) -> str:
    """Return the digest of the last bytes before `end`.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        file.seek(max(0, end - _TAIL_BYTES))
        return blake2b(file.read(min(end, _TAIL_BYTES)), digest_size=16).hexdigest()


def content_identity(paths: Sequence[Path]) -> str:
    """Return the digest of all of several files' bytes.

    Raises:
        OSError: one cannot be read.
    """
    digest = blake2b(digest_size=16)
    for path in paths:
        with path.open("rb") as file:
            size = 0
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
        digest.update(size.to_bytes(8, "little"))
    return digest.hexdigest()
