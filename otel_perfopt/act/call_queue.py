"""Calls that wait for their turn: how many may be under way and who asks in, a turn given in order of priority out."""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from otel_perfopt.act.clock import Clock

PRIORITIES: Final = {"high": 0, "normal": 1, "low": 2}
# Each class is served as if its calls had come this much later, so whoever waits longer overtakes in the end.
_HANDICAP_NS: Final = 2_000_000_000
MAX_WAITING = 10_000


@dataclass(slots=True)
class _Waiter:
    wake: Callable[[], object]
    granted: bool = False
    gone: bool = False


@dataclass(order=True, slots=True)
class _Place:
    due_ns: int
    number: int
    waiter: _Waiter = field(compare=False)


class CallQueue:
    """Threads and coroutines wait in one line; nobody waits longer than they say, and then they go anyway."""

    def __init__(self, limit: Callable[[], int], clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._waiting: list[_Place] = []
        self._numbers = count()
        self._lock = threading.Lock()
        self.in_flight = 0

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return sum(1 for place in list(self._waiting) if not place.waiter.gone)

    def enter(self, priority: str, wait_s: float) -> float:
        """Wait for a turn, at most `wait_s`; return the seconds waited. Every `enter` needs a `leave`."""
        event = threading.Event()
        waiter = self._ask(priority, event.set)
        if waiter is None:
            return 0.0
        began_ns = self._clock.monotonic_ns()
        try:
            event.wait(wait_s)
        finally:
            self._settle(waiter)
        return (self._clock.monotonic_ns() - began_ns) / 1e9

    async def enter_async(self, priority: str, wait_s: float) -> float:
        """Do the same without blocking the event loop; a coroutine that is cancelled holds no turn."""
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        waiter = self._ask(priority, lambda: loop.call_soon_threadsafe(event.set))
        if waiter is None:
            return 0.0
        began_ns = self._clock.monotonic_ns()
        try:
            await asyncio.wait_for(event.wait(), wait_s)
        except asyncio.TimeoutError:
            pass
        except BaseException:
            self._settle(waiter)
            self.leave()
            raise
        self._settle(waiter)
        return (self._clock.monotonic_ns() - began_ns) / 1e9

    def leave(self) -> None:
        """A call is over: the next ones have their turn."""
        with self._lock:
            self.in_flight -= 1
        self.admit()

    def admit(self) -> None:
        """Give a turn to as many as there is room for."""
        woken: list[_Waiter] = []
        with self._lock:
            while self._waiting and self.in_flight < self._limit():
                waiter = heapq.heappop(self._waiting).waiter
                if not waiter.gone:
                    waiter.granted = True
                    self.in_flight += 1
                    woken.append(waiter)
        for waiter in woken:
            try:
                waiter.wake()
            except RuntimeError:  # noqa: PERF203 - its event loop is closed, so nobody will ever leave for it
                self.leave()

    def after_fork(self) -> None:
        """Nobody of the parent's waits here."""
        self._lock = threading.Lock()
        self._waiting = []
        self.in_flight = 0

    def _ask(self, priority: str, wake: Callable[[], object]) -> _Waiter | None:
        """Take a turn at once (None), or a place in the line."""
        with self._lock:
            if (self.in_flight < self._limit() and not self._waiting) or len(self._waiting) >= MAX_WAITING:
                self.in_flight += 1
                return None
            waiter = _Waiter(wake)
            handicap = PRIORITIES.get(priority, PRIORITIES["normal"]) * _HANDICAP_NS
            due_ns = self._clock.monotonic_ns() + handicap
            heapq.heappush(self._waiting, _Place(due_ns, next(self._numbers), waiter))
        self.admit()
        return waiter

    def _settle(self, waiter: _Waiter) -> None:
        """Whoever has no turn yet goes now, and counts as under way."""
        with self._lock:
            if not waiter.granted:
                waiter.gone = waiter.granted = True
                self.in_flight += 1
