"""Who has an embedded store open: a folder in, this process's exclusive hold on it out, or who holds it."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_perfopt.errors import StoreBusyError, StoreError

LOCK_FILE: Final = "perfopt.holder"


@dataclass(slots=True)
class _Held:
    path: str
    descriptor: int
    count: int
    pid: int


_guard = threading.Lock()
_held: list[_Held] = []


def hold(folder: Path) -> None:
    """Take the folder for this process, once more each time it is called.

    Raises:
        StoreBusyError: another process has it.
        StoreError: this process has another store open (the engine opens one), or the folder cannot be written.
    """
    path = os.path.realpath(folder)
    with _guard:
        for held in _held:
            if held.path != path:
                raise StoreError(f"this process has the store {held.path} open; the engine opens one at a time")
            held.count += 1
            return
        _held.append(_Held(path, _lock(Path(path)), 1, os.getpid()))


def release(folder: Path) -> None:
    """Give the folder back; the last call unlocks it."""
    path = os.path.realpath(folder)
    with _guard:
        for held in [held for held in _held if held.path == path]:
            held.count -= 1
            if held.count <= 0:
                _held.remove(held)
                os.close(held.descriptor)


def _lock(folder: Path) -> int:
    import fcntl  # noqa: PLC0415 - not on Windows, where the embedded engine is not either

    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"the store {folder} cannot be opened: {error.strerror or error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = _holder(descriptor)
        os.close(descriptor)
        if error.errno not in {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}:
            raise StoreError(f"the store {folder} cannot be locked: {error.strerror}") from error
        raise StoreBusyError(_busy(folder, holder)) from None
    # A disk too full for the holder's name is no reason to refuse reading.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
    return descriptor


def _holder(descriptor: int) -> str:
    try:
        said = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {said['pid']} on {said['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _busy(folder: Path, holder: str) -> str:
    return (
        f"the store {folder} is open in {holder}, and one process opens it at a time. "
        "Ask through that process (a running `perfopt serve`), wait until it ends, or name another folder."
    )


def _forget_in_child() -> None:
    """A forked child has no engine: it lets go of the lock without unlocking its parent's."""
    for held in _held:
        with suppress(OSError):
            os.close(held.descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
