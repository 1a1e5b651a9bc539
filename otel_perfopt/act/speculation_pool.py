"""Threads for calls made early: a function in, whether a thread took it at once out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

MAX_THREADS = 16
IDLE_S = 30.0

Work = Callable[[], None]


class SpeculationPool:
    """A bounded pool that never queues: when every thread is busy, the work is refused.

    Its threads are daemons, so that a call that hangs cannot keep the agent's process from ending
    (`concurrent.futures` would wait for it), and end after half a minute without work.
    """

    def __init__(self, max_threads: int = MAX_THREADS, idle_s: float = IDLE_S) -> None:
        self._max_threads = max_threads
        self._idle_s = idle_s
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, work: Work) -> bool:
        """Run `work` in a thread right away; False when there is none to be had."""
        with self._lock:
            if self._closed:
                return False
            if self._idle > 0:
                # The waiting thread is promised to this work from here on.
                self._idle -= 1
                self._work.put(work)
                return True
            if self._threads >= self._max_threads:
                return False
            self._threads += 1
        try:
            threading.Thread(target=self._run, args=([work],), name="perfopt-early-call", daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._threads -= 1
            return False
        return True

    def close(self) -> None:
        """Refuse work from here on and let idle threads end; calls under way come to their own end."""
        with self._lock:
            self._closed = True
            for _ in range(self._idle):
                self._work.put(None)
            self._threads -= self._idle
            self._idle = 0

    def after_fork(self) -> None:
        """The parent's threads do not exist here."""
        self._reset()

    def _run(self, first: list[Work]) -> None:
        # In a list, so that neither the thread nor this frame holds on to the first work.
        while True:
            work = first.pop() if first else self._next()
            if work is None:
                return
            with suppress(BaseException):  # work reports its own errors; a thread must not print the rest
                work()
            del work

    def _next(self) -> Work | None:
        with self._lock:
            if self._closed:
                return None
            self._idle += 1
        while True:
            with suppress(Empty):
                return self._work.get(timeout=self._idle_s)
            with self._lock:
                if self._idle > 0:
                    self._idle -= 1
                    self._threads -= 1
                    return None
            # All idle threads are promised: this one's work is about to arrive.
