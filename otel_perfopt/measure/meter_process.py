"""The process itself in: its resident memory, and the pauses of its garbage collector in a stretch of time."""

from __future__ import annotations

import gc
import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MAX_PAUSES: Final = 4096
_STATM: Final = Path("/proc/self/statm")


def resident_bytes() -> int | None:
    """Return the process's resident memory; None where the system does not say it in /proc."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


class CollectorPauses:
    """The last 4,096 pauses of Python's garbage collector, from `start` to `stop`."""

    def __init__(self) -> None:
        self._pauses: deque[tuple[int, int]] = deque(maxlen=MAX_PAUSES)
        self._began_ns = 0

    def start(self) -> None:
        """Listen to the collector."""
        gc.callbacks.append(self._told)

    def stop(self) -> None:
        """Stop listening."""
        if self._told in gc.callbacks:
            gc.callbacks.remove(self._told)

    def seconds_in(self, start_ns: int, end_ns: int) -> float:
        """Return how long collections lasted between two Unix times in ns."""
        total = 0
        for began, ended in reversed(self._pauses.copy()):
            if ended < start_ns:
                break
            total += max(0, min(ended, end_ns) - max(began, start_ns))
        return total / 1e9

    def _told(self, phase: str, info: Mapping[str, int]) -> None:  # noqa: ARG002 - the collector's signature
        if phase == "start":
            self._began_ns = time.time_ns()
        elif self._began_ns:
            self._pauses.append((self._began_ns, time.time_ns()))
            self._began_ns = 0
