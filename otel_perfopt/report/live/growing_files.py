"""A folder of JSON lines that grow in, each whole line that was appended since the last look out."""

from __future__ import annotations

from collections.abc import Iterator
from os import SEEK_END
from pathlib import Path

_CHUNK_BYTES = 1 << 20


class GrowingFiles:
    """Follows every `*.jsonl` file of a folder from near its end on; holds one piece of a file at a time.

    Of a file that is there at the first look at most `history_bytes` are read. One that became shorter is
    another file and is read from its beginning; one that cannot be read is left out of that look.
    """

    def __init__(self, folder: Path, history_bytes: int = 4 << 20) -> None:
        self._folder = folder
        self._history = history_bytes
        self._offsets: dict[str, int] = {}
        self._looked = False
        self.lines = 0

    @property
    def files(self) -> int:
        """How many files there are now."""
        return len(self._offsets)

    def appended(self) -> Iterator[bytes]:
        """Yield what was appended, line by line; a torn last line waits for its end."""
        paths = sorted(self._folder.glob("*.jsonl")) if self._folder.is_dir() else []
        for gone in self._offsets.keys() - {path.name for path in paths}:
            del self._offsets[gone]
        for path in paths:
            try:
                yield from self._read(path)
            except OSError:  # noqa: PERF203 - a file that went away leaves the others
                continue
        self._looked = True

    def _read(self, path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            size = file.seek(0, SEEK_END)
            offset = self._offsets.get(path.name)
            if offset is None:
                offset = 0 if self._looked else max(0, size - self._history)
                if offset:
                    # In the middle of a line, most likely: begin at the next.
                    file.seek(offset)
                    offset += len(file.readline())
            offset = 0 if size < offset else offset
            file.seek(offset)
            self._offsets[path.name] = offset
            while chunk := file.read(_CHUNK_BYTES):
                whole = chunk if chunk.endswith(b"\n") else chunk + file.readline()
                if not whole.endswith(b"\n"):
                    whole = whole[: whole.rfind(b"\n") + 1]
                    if not whole:
                        return
                offset += len(whole)
                self._offsets[path.name] = offset
                for line in whole.splitlines():
                    self.lines += 1
                    yield line
                if offset < file.tell():
                    return
