"""Equal calls at the same time: a key in, either the lead or somebody else's result out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Hashable

from otel_perfopt.act.result_store import Entry


class Flight:
    """A call under way in a thread; waiters learn its entry, or None when there is nothing to share."""

    __slots__ = ("_done", "entry", "thread")

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.thread = threading.get_ident()
        self._done = threading.Event()

    def land(self, entry: Entry | None) -> None:
        """The call is over."""
        self.entry = entry
        self._done.set()

    def wait(self, limit_s: float) -> Entry | None:
        """Wait for the entry; None also when it takes too long, or when this thread leads (a recursive call)."""
        if self.thread == threading.get_ident():
            return None
        return self.entry if self._done.wait(limit_s) else None


class AsyncFlight:
    """The same for coroutines of one event loop."""

    __slots__ = ("entry", "future", "loop", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.entry: Entry | None = None
        self.loop = loop
        self.task = asyncio.current_task()
        self.future: asyncio.Future[None] = loop.create_future()

    def land(self, entry: Entry | None) -> None:
        """The call is over."""
        self.entry = entry
        if not self.future.done():
            self.future.set_result(None)

    async def wait(self, limit_s: float) -> Entry | None:
        """Wait for the entry; None also when it takes too long, from another loop, or when this task leads."""
        if self.loop is not asyncio.get_running_loop() or self.task is asyncio.current_task():
            return None
        # Waiting on the set leaves the flight alone when this waiter is cancelled.
        await asyncio.wait({self.future}, timeout=limit_s)
        return self.entry


class FlightBoard:
    """Calls under way, by key; a leader takes its flight off the board when it lands."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight | AsyncFlight] = {}
        self._lock = threading.Lock()

    def join(self, key: Hashable) -> Flight | None:
        """Return the flight to wait for, or None when the caller leads now."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                self._flights[key] = Flight()
            return flight if isinstance(flight, Flight) else None

    def join_async(self, key: Hashable) -> AsyncFlight | None:
        """Return the flight to wait for, or None when the caller leads now."""
        loop = asyncio.get_running_loop()
        with self._lock:
            flight = self._flights.get(key)
            if flight is None:
                self._flights[key] = AsyncFlight(loop)
            return flight if isinstance(flight, AsyncFlight) else None

    def land(self, key: Hashable, entry: Entry | None) -> None:
        """The leader's call is over; it gave `entry`, or nothing that can be shared."""
        with self._lock:
            flight = self._flights.pop(key, None)
        if flight is not None:
            flight.land(entry)

    def after_fork(self) -> None:
        """Leaders of the parent's other threads never land here."""
        self._lock = threading.Lock()
        self._flights = {}
