"""A span around a call of any kind: what opens it in, an `around` for functions, coroutines and generators out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import Token
from functools import partial
from types import FunctionType
from typing import Any

from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.trace import Span

from otel_perfopt.signal.calls import RunContext
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.interception import Around
from otel_perfopt.signal.emit.runs import current_run, enter_run, leave_run
from otel_perfopt.signal.emit.tracing import attach, context_with, detach, end_span
from otel_perfopt.signal.emit.trampoline import Kind

# Called with the function and its arguments; None means: nothing to open, make the plain call.
Opener = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], "Scope | None"]

# A task that is cancelled or a generator that is closed has been interrupted; it did not fail.
INTERRUPTIONS = (GeneratorExit, asyncio.CancelledError, KeyboardInterrupt)


class Scope:
    """A span, and a run if it opens one, that is current between `resume` and `pause`, until `end`.

    None of the three raises. `on_end` is told the error (or None) before the span ends.
    """

    __slots__ = ("_context", "_run_token", "_token", "on_end", "run", "span")

    def __init__(
        self,
        span: Span,
        run: RunContext | None = None,
        on_end: Callable[[BaseException | None], None] | None = None,
    ) -> None:
        self.span = span
        self.on_end = on_end
        self.run = run
        self._context = context_with(span)
        self._token: Token[Context] | None = None
        self._run_token: Token[RunContext | None] | None = None

    def carry(self, key: str, value: object) -> None:
        """Have `value` in the context, under `key`, wherever the span is current."""
        self._context = context_api.set_value(key, value, self._context)

    def resume(self) -> None:
        """Make the span, and the run, current."""
        if self._context is not None:
            self._token = attach(self._context)
        self._run_token = enter_run(self.run or current_run())

    def pause(self) -> None:
        """Make current what was so before `resume`."""
        run_token, self._run_token = self._run_token, None
        here = leave_run(run_token)
        token, self._token = self._token, None
        if here:
            detach(token)

    def end(self, error: BaseException | None = None) -> None:
        """End the span; an interruption is no error."""
        if self.on_end is not None:
            try:
                self.on_end(error)
            except Exception as own:
                fault("scope end", own)
        end_span(self.span, None if isinstance(error, INTERRUPTIONS) else error)


def scoped(kind: Kind, opener: Opener) -> Around:
    """Return an `around` that makes each call of a function of `kind` inside the scope that `opener` gives.

    Generators are in their scope only while their own code runs, so what consumes them is not.
    """

    def opened(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Scope | None:
        try:
            return opener(function, args, kwargs)
        except Exception as error:
            fault("scope start", error)
            return None

    def around(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scope = opened(function, args, kwargs)
        return function(*args, **kwargs) if scope is None else run_scoped(scope, function, args, kwargs)

    return around if kind is Kind.SYNC else _around_suspending(kind, opened)


def _around_suspending(kind: Kind, opened: Opener) -> Around:
    async def around_async(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scope = opened(function, args, kwargs)
        if scope is None:
            return await function(*args, **kwargs)
        return await run_scoped_async(scope, function, args, kwargs)

    def around_generator(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scope = opened(function, args, kwargs)
        generator = function(*args, **kwargs)
        return generator if scope is None else stepwise(scope, generator)

    def around_async_generator(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scope = opened(function, args, kwargs)
        generator = function(*args, **kwargs)
        return generator if scope is None else stepwise_async(scope, generator)

    return {
        Kind.ASYNC: around_async,
        Kind.GENERATOR: around_generator,
        Kind.ASYNC_GENERATOR: around_async_generator,
    }[kind]


def run_scoped(scope: Scope, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make a synchronous call inside `scope`."""
    scope.resume()
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        scope.pause()
        scope.end(error)
        raise
    scope.pause()
    scope.end()
    return result


async def run_scoped_async(
    scope: Scope, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Make an asynchronous call inside `scope`."""
    scope.resume()
    try:
        result = await function(*args, **kwargs)
    except BaseException as error:
        scope.pause()
        scope.end(error)
        raise
    scope.pause()
    scope.end()
    return result


def stepwise(scope: Scope, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Yield what `generator` yields, its own code running inside `scope`."""
    step: Callable[[], Any] = generator.__next__
    try:
        while True:
            scope.resume()
            try:
                item = step()
            finally:
                scope.pause()
            try:
                sent = yield item
            except GeneratorExit:
                generator.close()
                raise
            except BaseException as error:
                step = partial(generator.throw, error)
            else:
                step = generator.__next__ if sent is None else partial(generator.send, sent)
    except StopIteration as stop:
        scope.end()
        return stop.value
    except BaseException as error:
        scope.end(error)
        raise


async def stepwise_async(scope: Scope, generator: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    """Yield what `generator` yields, its own code running inside `scope`."""
    step: Callable[[], Any] = generator.__anext__
    try:
        while True:
            scope.resume()
            try:
                item = await step()
            finally:
                scope.pause()
            try:
                sent = yield item
            except GeneratorExit:
                await generator.aclose()
                raise
            except BaseException as error:
                step = partial(generator.athrow, error)
            else:
                step = partial(generator.asend, sent)
    except StopAsyncIteration:
        scope.end()
    except BaseException as error:
        scope.end(error)
        raise
