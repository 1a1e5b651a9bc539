"""The machine under the fleet: a disk that can be filled, and how late this machine runs what is due."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from otel_perfopt.errors import PerfoptError

DISK = "384m"
_NAP_S = 0.05


class Disk:
    """A file system of its own for a folder, in memory, so that it can be filled without harm to anything else."""

    def __init__(self, folder: Path, *, mount: bool) -> None:
        self._folder = folder
        self._filler = folder / "filler"
        self.mounted = mount and _run("mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder))

    def fill(self) -> None:
        """Write until nothing more can be written.

        Raises:
            PerfoptError: the folder has no disk of its own.
        """
        if not self.mounted:
            raise PerfoptError("no disk of its own can be mounted here: run as root, or with unshare -rm")
        block = bytes(1 << 20)
        with self._filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(block)

    def free(self) -> None:
        """Give the room back."""
        self._filler.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Take the file system away, with what is on it."""
        if self.mounted:
            self.mounted = not _run("umount", "-l", str(self._folder))


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


class Lag:
    """How much later than due a thread of this process woke up, at worst, since the last `begin`."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def begin(self) -> None:
        """Forget what was before."""
        self.worst_s = 0.0

    def stop(self) -> None:
        """Watch no more."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.is_set():
            before = time.monotonic()
            time.sleep(_NAP_S)
            self.worst_s = max(self.worst_s, time.monotonic() - before - _NAP_S)
