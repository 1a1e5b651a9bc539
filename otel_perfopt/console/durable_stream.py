"""Telemetry that was acknowledged: lines in, rotated files that have them on disk out."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from otel_perfopt.decide.durable_file import sync_folder
from otel_perfopt.signal.emit.telemetry_file import RotatingStream


class DurableStream(RotatingStream):
    """Files as the agents themselves write them; `keep` returns when its lines are on disk, and says so when they are not."""

    def __init__(self, folder: Path, service: str, *, file_bytes: int, total_bytes: int) -> None:
        super().__init__(folder, service, file_bytes, total_bytes)
        self._one_at_a_time = threading.Lock()
        self._synced: Path | None = None

    def keep(self, line: bytes) -> None:
        """Append one line.

        Raises:
            OSError: it could not be written, or not made sure of; then it may be handed in again.
        """
        with self._one_at_a_time:
            failures = self.failures
            self.write(line.decode("utf-8") + "\n")
            if self.failures != failures or self._descriptor is None:
                raise OSError(f"cannot write to {self._folder}")
            os.fsync(self._descriptor)
            if self.path != self._synced:
                # A file's name lasts only when its folder is on disk too.
                sync_folder(self._folder)
                self._synced = self.path
