"""What a process's start took: its first command in, the CPU time before that on the command's span out."""

from __future__ import annotations

import time
from collections.abc import Callable

from otel_perfopt import conventions as c
from otel_perfopt.signal.calls import RunContext


class ProcessStartTime:
    """CPU seconds from the process's beginning to its first command; a forked child has no start of its own."""

    __slots__ = ("_clock_s", "_first", "_taken_s")

    def __init__(self, clock_s: Callable[[], float] = time.process_time) -> None:
        self._clock_s = clock_s
        self._first: RunContext | None = None
        self._taken_s: float | None = None

    def over(self, run: RunContext) -> None:
        """A command begins; only the first ends the start."""
        if self._taken_s is None:
            self._taken_s = self._clock_s()
            self._first = run

    def tell(self, run: RunContext) -> None:
        """A command ends; the first one's span is told."""
        if run is self._first:
            self._first = None
            run.span.set_attribute(c.PROCESS_START_TIME, round(self._taken_s or 0.0, 4))

    def after_fork(self) -> None:
        """Say nothing in the child."""
        self._first = None
        self._taken_s = 0.0
