"""One optimization around a call, and the promise that its faults are not the agent's: a call in, its outcome out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from otel_perfopt.act.enrolment import Use
from otel_perfopt.signal.calls import InferenceCall, RunContext, ToolCall

Call = ToolCall | InferenceCall
# What comes next: it makes the call it is given, a `ToolCall` or an `InferenceCall`.
Proceed = Callable[[Any], Any]
ProceedAsync = Callable[[Any], Awaitable[Any]]
# Called with the optimization's name and what went wrong in its own code.
OnFault = Callable[[str, Exception, "RunContext | None"], None]


class AlreadyMadeError(RuntimeError):
    """A middleware tried to make a call twice; a fault of that middleware."""


class Middleware(Protocol):
    """An optimization as it stands around calls; `proceed` may be called at most once, but by `retry_hedge`."""

    @property
    def name(self) -> str:
        """The optimization's type."""
        ...

    def around(self, use: Use, call: ToolCall, proceed: Proceed) -> Any:
        """Give the call's result."""
        ...

    async def around_async(self, use: Use, call: ToolCall, proceed: ProceedAsync) -> Any:
        """Give the call's result."""
        ...


class Rewriter(Protocol):
    """An optimization that changes what is sent to a model, and nothing else."""

    @property
    def name(self) -> str:
        """The optimization's type."""
        ...

    def rewrite(self, use: Use, call: InferenceCall) -> Mapping[str, Any]:
        """Return the keyword arguments to send instead of those of that name; nothing leaves the request as it is.

        What `call.kwargs` holds is the agent's: build new values, never change them. The same request
        must be rewritten the same way each time, or the provider's cache of its prefix breaks. In
        shadow what is returned is counted and thrown away.
        """
        ...


class InferenceMiddleware(Protocol):
    """An optimization as it stands around calls of a model; `proceed` may be called more than once.

    Of several results only the one that is returned may be recorded: what is thrown away must be closed.
    """

    @property
    def name(self) -> str:
        """The optimization's type."""
        ...

    def around(self, use: Use, call: InferenceCall, proceed: Proceed) -> Any:
        """Give the call's result."""
        ...

    async def around_async(self, use: Use, call: InferenceCall, proceed: ProceedAsync) -> Any:
        """Give the call's result."""
        ...


class Attempt:
    """The plain way onwards, taken at most once unless `repeatable`, and what came of it."""

    __slots__ = ("entered", "error", "errors", "finished", "repeatable", "result", "target")

    def __init__(self, target: Callable[[Any], Any], *, repeatable: bool = False) -> None:
        self.target = target
        self.repeatable = repeatable
        self.entered = False
        self.finished = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.errors: list[BaseException] = []  # of every attempt, where there may be several at once

    def forget(self) -> None:
        """A later attempt went well: what was raised before it is nobody's any more."""
        self.error = None
        self.errors.clear()

    def raised(self, error: BaseException) -> bool:
        """Tell whether `error` is a call's own; what was raised is forgotten, so that it keeps no frames alive."""
        own = error is self.error or any(error is item for item in self.errors)
        if own:
            self.error = None
            self.errors.clear()
        return own

    def __call__(self, call: Call) -> Any:
        """Make the call."""
        self._enter()
        try:
            result = self.target(call)
        except BaseException as error:
            self._failed(error)
            raise
        self.result = result
        self.finished = True
        if self.error is not None:
            self.forget()
        return result

    async def make_async(self, call: Call) -> Any:
        """Do the same for an asynchronous call."""
        self._enter()
        try:
            result = await self.target(call)
        except BaseException as error:
            self._failed(error)
            raise
        self.result = result
        self.finished = True
        if self.error is not None:
            self.forget()
        return result

    def _failed(self, error: BaseException) -> None:
        self.error = error
        if self.repeatable:
            self.errors.append(error)

    def _enter(self) -> None:
        if self.entered and not self.repeatable:
            raise AlreadyMadeError
        self.entered = True

    def outcome(self) -> Any:
        """Return or raise what the call came to.

        Taking the exception out of here breaks the cycle that would keep the agent's frames alive.
        """
        error, self.error = self.error, None
        if error is not None:
            raise error
        return self.result


def guard(
    name: str,
    around: Callable[[Proceed], Any],
    target: Proceed,
    call: Call,
    on_fault: OnFault,
    *,
    repeatable: bool = False,
) -> Any:
    """Run `around`; where its own code fails, give the plain call's outcome, made exactly once.

    An interruption or a cancellation is not a fault and passes through.
    """
    attempt = Attempt(target, repeatable=repeatable)
    try:
        return around(attempt)
    except Exception as error:
        if attempt.raised(error):
            raise
        on_fault(name, error, call.run)
    if attempt.entered:
        return attempt.outcome()
    return target(call)


async def guard_async(
    name: str,
    around: Callable[[ProceedAsync], Awaitable[Any]],
    target: ProceedAsync,
    call: Call,
    on_fault: OnFault,
    *,
    repeatable: bool = False,
) -> Any:
    """Do the same for an asynchronous call."""
    attempt = Attempt(target, repeatable=repeatable)
    try:
        return await around(attempt.make_async)
    except Exception as error:
        if attempt.raised(error):
            raise
        on_fault(name, error, call.run)
    if attempt.entered:
        return attempt.outcome()
    return await target(call)
