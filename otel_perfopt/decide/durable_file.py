"""Files that a crash leaves whole: bytes in, an extended, replaced or new file on disk out (or OSError, nothing changed)."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def append_durably(path: Path, data: bytes, end: int) -> None:
    """Write `data` at `end` and sync it; on any failure the file ends at `end` again."""
    is_new = not path.exists()
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(handle, data[written:], end + written)
        os.ftruncate(handle, end + len(data))
        os.fsync(handle)
    except OSError:
        with suppress(OSError):
            os.ftruncate(handle, end)
            os.fsync(handle)
        raise
    finally:
        os.close(handle)
    if is_new:
        sync_folder(path.parent)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that readers see the old or the new content, whole, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
    sync_folder(path.parent)


def write_new(path: Path, text: str) -> bool:
    """Write a file that is not there yet; return False, having touched nothing, where there is one or no room."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            try:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            except OSError:
                path.unlink(missing_ok=True)
                raise
    except OSError:
        return False
    sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Make a new or renamed name in `folder` survive a crash, where the system can."""
    with suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
