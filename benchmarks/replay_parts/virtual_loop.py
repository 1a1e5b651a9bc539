"""Recorded durations without waiting for them: coroutines in, run on a loop whose clock jumps over what it would wait."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Jumping(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Never waits: what nothing came for is added to `skipped_s`."""

    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Return what is ready; a wait for a time is over at once."""
        ready = super().select(0)
        if ready or timeout == 0:
            return list(ready)
        if timeout is None:
            raise RuntimeError("the replay waits for something that nobody will do")
        self.skipped_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time is what was slept plus the processor time that this thread really took.

    So tools and models take their recorded durations, time to live and limits run in recorded
    seconds, and what the optimizations cost by themselves is inside every figure, whatever else the machine does.
    """

    def __init__(self) -> None:
        self._jumping = _Jumping()
        self._began_s = time.thread_time()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return seconds since the loop was made."""
        return time.thread_time() - self._began_s + self._jumping.skipped_s

    def monotonic_ns(self) -> int:
        """Return the same in nanoseconds, never 0."""
        return 1 + int(self.time() * 1e9)

    def work_s(self) -> float:
        """Return the processor time that was really taken."""
        return time.thread_time() - self._began_s

    def finish(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work` to its end and cancel what it left."""
        try:
            return self.run_until_complete(work)
        finally:
            self.run_until_complete(self._cancel_left())
            self.close()

    async def _cancel_left(self) -> None:
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
