"""One call put through an interceptor: what the plain call gave is kept, so that a fault beside it costs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from otel_perfopt.signal.calls import InferenceCall, ToolCall

Call = ToolCall | InferenceCall


class _Outcome:
    """What the plain call gave, if it was made."""

    __slots__ = ("call", "done", "error", "execute", "result")

    def __init__(self, call: Call, execute: Callable[[Any], Any]) -> None:
        self.call = call
        self.execute = execute
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None

    def explains(self, error: BaseException) -> bool:
        """Tell whether `error` is the call's own: raised by the plain call, here or wherever it was run."""
        if error is self.error:
            return True
        code = getattr(self.call.function, "__code__", None)
        traceback = error.__traceback__
        while traceback is not None and code is not None:
            if traceback.tb_frame.f_code is code:
                return True
            traceback = traceback.tb_next
        return False

    def made(self) -> bool:
        """Tell whether the plain call was made; raises what it raised."""
        if self.error is not None:
            raise self.error
        return self.done


class Attempt(_Outcome):
    """What an interceptor is given as `execute` for a synchronous call."""

    __slots__ = ()

    def __call__(self, call: Call) -> Any:
        """Make the call."""
        try:
            result = self.result = self.execute(call)
        except BaseException as error:
            self.error = error
            raise
        self.done = True
        return result

    def plain(self) -> Any:
        """Return the plain call's result; the call is made now if it was not made before."""
        return self.result if self.made() else self(self.call)


class AsyncAttempt(_Outcome):
    """What an interceptor is given as `execute` for an asynchronous call."""

    __slots__ = ()
    execute: Callable[[Any], Awaitable[Any]]

    async def __call__(self, call: Call) -> Any:
        """Make the call."""
        try:
            result = self.result = await self.execute(call)
        except BaseException as error:
            self.error = error
            raise
        self.done = True
        return result

    async def plain(self) -> Any:
        """Return the plain call's result; the call is made now if it was not made before."""
        return self.result if self.made() else await self(self.call)
