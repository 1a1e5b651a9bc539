"""When calls of one target ran: calls in, a bounded sample with how many were in flight at each one's start out."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.execution.model import Execution

MAX_CALLS = 40_000


@dataclass(frozen=True, slots=True)
class CallSample:
    """Calls in order of start: seconds each took, its `delay_s` before, the calls in flight when it began, its run."""

    start_s: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    delay_s: NDArray[np.float64]
    in_flight: NDArray[np.float64]
    runs: NDArray[np.int64]


def run_mark(execution: Execution) -> int:
    """Return a number that runs are sampled by."""
    return crc32(execution.trace_id.encode())


class CallTimes:
    """Starts, ends and delays of calls; beyond 40,000 only whole runs are kept, every second, fourth, … by hash."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, int]] = []
        self._mask = 0

    def add(self, mark: int, start_ns: int, end_ns: int, delay_ns: int = 0) -> None:
        """Note one call of the run with this mark (`run_mark`)."""
        if mark & self._mask:
            return
        self._rows.append((start_ns, max(start_ns, end_ns), delay_ns, mark))
        if len(self._rows) > MAX_CALLS:
            self._mask = self._mask * 2 + 1
            self._rows = [row for row in self._rows if not row[3] & self._mask]

    def __len__(self) -> int:
        return len(self._rows)

    def sample(self) -> CallSample:
        """Return what was kept; calls in flight are scaled up by how much was left out."""
        rows = np.array(sorted(self._rows), dtype=np.int64).reshape(-1, 4)
        starts, ends = rows[:, 0], rows[:, 1]
        begun = np.arange(len(rows))
        ended = np.searchsorted(np.sort(ends), starts, side="right")
        # A call that took no time at all has ended before itself; nothing is in flight then.
        in_flight = np.maximum(0, begun - ended) * (self._mask + 1)
        return CallSample(
            start_s=(starts - (starts[0] if len(rows) else 0)) / 1e9,
            duration_s=(ends - starts) / 1e9,
            delay_s=rows[:, 2] / 1e9,
            in_flight=in_flight.astype(np.float64),
            runs=rows[:, 3],
        )
