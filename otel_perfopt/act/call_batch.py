"""Calls of one tool that go together: each call's arguments in, its own result or exception out, or that it goes alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final

Arguments = Mapping[str, Any]
# Arguments of several calls in, as many results in the same order out; an exception in place of a failed one's.
Form = Callable[[list[Arguments]], Any]
MAX_OPEN: Final = 1024


class GoesAloneError(Exception):
    """There is no result for this call from its batch: it is to be made by itself."""


class CallBatch:
    """One batch: it takes calls until it is closed; who opened it closes it and makes it."""

    def __init__(self, most: int, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.arguments: list[Arguments] = []
        self.loop = loop
        self.opener = threading.get_ident()
        self._most = most
        self._results: list[Any] | None = None
        self._full = threading.Event()
        self._done = threading.Event()
        self._done_later: asyncio.Future[None] | None = None if loop is None else loop.create_future()
        self._full_later: asyncio.Future[None] | None = None if loop is None else loop.create_future()

    def add(self, arguments: Arguments) -> int:
        """Take a call; return its place."""
        self.arguments.append(arguments)
        if self.is_full:
            self._full.set()
            _resolve(self._full_later)
        return len(self.arguments) - 1

    @property
    def is_full(self) -> bool:
        """Whether no more calls fit."""
        return len(self.arguments) >= self._most

    def wait_for_others(self, limit_s: float) -> None:
        """Wait until the batch is full, at most so long."""
        self._full.wait(limit_s)

    async def wait_for_others_async(self, limit_s: float) -> None:
        """Do the same in a coroutine."""
        assert self._full_later is not None
        await asyncio.wait({self._full_later}, timeout=limit_s)

    def land(self, results: object) -> None:
        """Give every call its result; anything but a list of as many results sends each call alone."""
        if isinstance(results, Sequence) and not isinstance(results, str) and len(results) == len(self.arguments):
            self._results = list(results)
        self._done.set()
        _resolve(self._done_later)

    def wait(self, limit_s: float) -> None:
        """Wait until the batch was made, at most so long."""
        self._done.wait(limit_s)

    async def wait_async(self, limit_s: float) -> None:
        """Do the same in a coroutine."""
        assert self._done_later is not None
        await asyncio.wait({self._done_later}, timeout=limit_s)

    def result(self, place: int) -> Any:
        """Return a call's result, or raise its exception.

        Raises:
            GoesAloneError: the batch gave it none.
        """
        if self._results is None:
            raise GoesAloneError
        found = self._results[place]
        if isinstance(found, BaseException):
            raise found
        return found


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


class BatchBoard:
    """Batches that still take calls, by what their calls have in common."""

    def __init__(self) -> None:
        self._open: dict[Hashable, CallBatch] = {}
        self._lock = threading.Lock()

    def join(
        self, key: Hashable, arguments: Arguments, most: int, loop: asyncio.AbstractEventLoop | None = None
    ) -> tuple[CallBatch, int]:
        """Take part in the open batch, or open one; return it and the call's place, 0 for who has to make it."""
        with self._lock:
            batch = self._open.get(key)
            if batch is None or batch.is_full or batch.loop is not loop:
                batch = CallBatch(most, loop)
                if len(self._open) < MAX_OPEN or key in self._open:
                    self._open[key] = batch
            return batch, batch.add(arguments)

    def close(self, key: Hashable, batch: CallBatch) -> list[Arguments]:
        """Let nobody join any more; return the calls' arguments."""
        with self._lock:
            if self._open.get(key) is batch:
                del self._open[key]
            return list(batch.arguments)

    def after_fork(self) -> None:
        """The parent's batches are never made here."""
        self._lock = threading.Lock()
        self._open = {}
