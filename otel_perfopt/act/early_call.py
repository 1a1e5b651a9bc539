"""One call made before the agent makes it: a call in, its result or the fact that it failed out."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context
from enum import Enum
from typing import Any

from otel_perfopt.act.clock import Clock


class EarlyState(Enum):
    """What became of an early call when the agent came to claim it."""

    READY = "ready"
    FAILED = "failed"
    LATE = "late"


class EarlyCall:
    """A read-only call under way in another thread (or a task); claimed at most once.

    `moment` is the write journal's at its start. An exception is remembered by its type only: the
    agent never gets it, and keeping it would keep the frames it passed through.
    """

    __slots__ = ("_done", "began_ns", "clock", "ended_ns", "error_type", "key", "moment", "result", "task", "tool")

    def __init__(self, tool: str, key: Hashable, moment: int, clock: Clock) -> None:
        self.tool = tool
        self.key = key
        self.moment = moment
        self.clock = clock
        self.began_ns = clock.monotonic_ns()
        self.ended_ns: int | None = None
        self.result: Any = None
        self.error_type: type[BaseException] | None = None
        self.task: asyncio.Task[Any] | None = None
        self._done = threading.Event()

    def run_in(self, context: Context, make: Callable[[], Any]) -> None:
        """Make the call in this thread, with the agent's context variables."""
        try:
            result = context.run(make)
            if inspect.iscoroutine(result):
                # An asynchronous tool in disguise: it belongs to the agent's loop.
                result.close()
                self.error_type = TypeError
            else:
                self.result = result
        except BaseException as error:
            self.error_type = type(error)
        finally:
            self.ended_ns = self.clock.monotonic_ns()
            self._done.set()

    def start_task(self, loop: asyncio.AbstractEventLoop, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Make the call as a task of the agent's loop."""
        self.task = loop.create_task(make())
        self.task.add_done_callback(self._task_done)

    def wait(self, limit_s: float) -> EarlyState:
        """Wait for the call in another thread."""
        if not self._done.wait(limit_s):
            return EarlyState.LATE
        return EarlyState.READY if self.error_type is None else EarlyState.FAILED

    async def wait_async(self) -> EarlyState:
        """Wait for the task; cancelling the waiter cancels it, as it would have cancelled the plain call."""
        assert self.task is not None
        try:
            self.result = await self.task
        except Exception as error:
            self.error_type = type(error)
            return EarlyState.FAILED
        return EarlyState.READY

    def give_up(self) -> None:
        """Nobody will claim it: stop it where that is possible."""
        task = self.task
        if task is not None and not task.done():
            try:
                task.get_loop().call_soon_threadsafe(task.cancel)
            except RuntimeError:
                # The loop has been closed; so has the task.
                self.task = None

    @property
    def done(self) -> bool:
        """Whether it has come to an end."""
        return self._done.is_set()

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self.ended_ns = self.clock.monotonic_ns()
        self._done.set()
        if not task.cancelled():
            # Looked at, so that the loop does not complain of an exception nobody fetched.
            task.exception()
