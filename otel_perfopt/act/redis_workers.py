"""Redis asked from threads of its own: an operation in, its answer within a bounded time out, or that there is none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import Any, Final

from otel_perfopt.act.breaker import Breaker
from otel_perfopt.act.clock import Clock

TIMEOUT_S: Final = 0.1
WORKERS: Final = 4
MAX_WAITING: Final = 256
IDLE_S: Final = 30.0

# Asks a client something.
Operation = Callable[[Any], Any]


class UnavailableError(Exception):
    """Redis gave no answer in time."""


class _Answer:
    """What an operation came to; set in a worker's thread."""

    __slots__ = ("_done", "_later", "_loop", "error", "value")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self._loop = loop
        self._done = threading.Event()
        self._later: asyncio.Future[None] | None = None if loop is None else loop.create_future()

    def give(self, value: Any, error: BaseException | None = None) -> None:
        self.value, self.error = value, error
        self._done.set()
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._later is not None and not self._later.done():
            self._later.set_result(None)

    def wait(self, limit_s: float) -> bool:
        return self._done.wait(limit_s)

    async def wait_async(self, limit_s: float) -> bool:
        assert self._later is not None
        await asyncio.wait({self._later}, timeout=limit_s)
        return self._done.is_set()


_Work = tuple[Operation, _Answer | None]


class RedisWorkers:
    """Connecting, finding addresses and waiting for a slow server happen here and not where the agent works.

    Nobody waits longer than `timeout_s`. After three failures within ten seconds nothing is asked for two.
    Threads are daemons and end when they are idle.
    """

    def __init__(self, url: str, clock: Clock, *, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self._clock = clock
        self._reset()

    def _reset(self) -> None:
        self._breaker = Breaker(self._clock, window_s=10.0, rest_s=2.0)
        self._work: Queue[_Work] = Queue(MAX_WAITING)
        self._threads = 0
        self._idle = 0
        self._client: Any = None
        self._lock = threading.Lock()
        self._connecting = threading.Lock()
        self.connected = False

    def connect(self) -> None:
        """Begin to connect; nobody waits for it."""
        with suppress(UnavailableError):
            self.tell(lambda client: client.ping())

    def ask(self, operation: Operation) -> Any:
        """Return the operation's answer.

        Raises:
            UnavailableError: there was none in time, or Redis is resting.
        """
        answer = self._submit(operation, _Answer())
        return self._answered(answer, in_time=answer.wait(self.timeout_s))

    async def ask_async(self, operation: Operation) -> Any:
        """Do the same in a coroutine."""
        answer = self._submit(operation, _Answer(asyncio.get_running_loop()))
        return self._answered(answer, in_time=await answer.wait_async(self.timeout_s))

    def tell(self, operation: Operation) -> None:
        """Have the operation done soon; nobody waits for it.

        Raises:
            UnavailableError: there is no room for more work.
        """
        self._put((operation, None))

    def after_fork(self) -> None:
        """The parent's threads and connections are the parent's."""
        self._reset()

    def close(self) -> None:
        """Let go of the connections."""
        client, self._client = self._client, None
        self.connected = False
        if client is not None:
            with suppress(Exception):
                client.close()

    def _submit(self, operation: Operation, answer: _Answer) -> _Answer:
        if not self.connected or not self._breaker.allow():
            # Whoever connects does so on a worker's thread; until then there is nobody to ask.
            if not self.connected and self._breaker.allow() and self._work.empty():
                self.connect()
            raise UnavailableError
        self._put((operation, answer))
        return answer

    def _answered(self, answer: _Answer, *, in_time: bool) -> Any:
        if not in_time or answer.error is not None:
            if not in_time:
                self._breaker.failed()
            raise UnavailableError
        return answer.value

    def _put(self, work: tuple[Operation, _Answer | None]) -> None:
        try:
            self._work.put_nowait(work)
        except Full:
            raise UnavailableError from None
        with self._lock:
            if self._threads >= WORKERS or self._idle >= self._work.qsize() > 0:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._run, args=(self._work,), name="perfopt-redis", daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._threads -= 1
            raise UnavailableError from None

    def _run(self, queue: Queue[_Work]) -> None:
        while True:
            work = self._next(queue)
            if work is None:
                return
            operation, answer = work
            try:
                value = operation(self._connection())
            except BaseException as error:
                self._breaker.failed()
                if answer is not None:
                    answer.give(None, error)
            else:
                self.connected = True
                self._breaker.succeeded()
                if answer is not None:
                    answer.give(value)

    def _next(self, queue: Queue[_Work]) -> _Work | None:
        with self._lock:
            self._idle += 1
        try:
            work = queue.get(timeout=IDLE_S)
        except Empty:
            work = None
        with self._lock:
            self._idle -= 1
            if work is None and queue.empty():
                self._threads -= 1
                return None
        return work or self._next(queue)

    def _connection(self) -> Any:
        with self._connecting:
            if self._client is None:
                import redis  # noqa: PLC0415 - an extra, and loaded where nobody waits for it

                limit_s = max(1.0, self.timeout_s)
                self._client = redis.Redis.from_url(
                    self.url, socket_timeout=limit_s, socket_connect_timeout=limit_s, max_connections=WORKERS * 2
                )
            return self._client
