"""The official OpenAI client's chat completions: calls of `create` in, model calls with their replies out."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import FunctionType
from typing import Any

from otel_perfopt.signal.faults import fault
from otel_perfopt.signal.interception import Interception, intercept
from otel_perfopt.signal.model_calls import ModelCall, ModelReply, begin_model_call
from otel_perfopt.signal.openai_reply import ChatStream, reply_of
from otel_perfopt.signal.openai_request import request_of

# Where the classes live in the client's versions since 1.0, and what makes a request by itself.
MODULES = (
    "openai.resources.chat.completions",
    "openai.resources.chat.completions.completions",
    "openai.resources.beta.chat.completions",
)
_METHODS = ("create", "parse")


def instrument_module(module: object) -> list[Interception]:
    """Take over the chat completions of an imported client module; what undoes it is returned."""
    done = []
    for name, around in (("Completions", _around), ("AsyncCompletions", _around_async)):
        methods = vars(getattr(module, name, object))
        if getattr(getattr(module, name, None), "__module__", None) != getattr(module, "__name__", None):
            continue
        for method in _METHODS:
            function = methods.get(method)
            # Another instrumentation's proxy stands before the client's own function.
            while function is not None and not isinstance(function, FunctionType):
                function = getattr(function, "__wrapped__", None)
            interception = intercept(function, around) if function is not None else None
            if interception is not None:
                done.append(interception)
    return done


def _around(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    call = _begin(args, kwargs)
    if call is None:
        return function(*args, **kwargs)
    call.enter()
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        call.leave()
        call.end(None, error)
        raise
    call.leave()
    _receive(call, result, _observed)
    return result


def _around_async(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # Called at once, so that wrong arguments are refused where the client refuses them.
    coroutine = function(*args, **kwargs)
    return _awaited(coroutine, args, kwargs) if isinstance(coroutine, Coroutine) else coroutine


async def _awaited(coroutine: Coroutine[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    call = _begin(args, kwargs)
    if call is None:
        return await coroutine
    call.enter()
    try:
        result = await coroutine
    except BaseException as error:
        call.leave()
        call.end(None, error)
        raise
    call.leave()
    _receive(call, result, _observed_async)
    return result


def _begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> ModelCall | None:
    try:
        request = request_of(args[0] if args else None, kwargs)
    except Exception as error:
        fault("openai request", error)
        return None
    return begin_model_call(request)


def _receive(call: ModelCall, result: Any, observed: Callable[[Any, ModelCall], Any]) -> None:
    """Take a result: a completion, a stream, or a raw response that holds one of them (and keeps what it parsed)."""
    try:
        if hasattr(result, "http_response") and hasattr(result, "parse"):
            result = result.parse() if type(result).__name__ == "LegacyAPIResponse" else None
        iterator = getattr(result, "_iterator", None)
        if iterator is not None:
            result._iterator = observed(iterator, call)  # noqa: SLF001 - the stream stays the client's own object
            return
        call.end(reply_of(result))
    except Exception as error:
        fault("openai reply", error)
        call.end(None)


def _observed(iterator: Iterator[Any], call: ModelCall) -> Iterator[Any]:
    stream = _Feed(call)
    try:
        for chunk in iterator:
            stream.feed(chunk)
            yield chunk
    except GeneratorExit:
        _close(iterator)
        stream.end(None, complete=False)
        raise
    except BaseException as error:
        stream.end(error, complete=False)
        raise
    stream.end(None, complete=True)


async def _observed_async(iterator: AsyncIterator[Any], call: ModelCall) -> AsyncIterator[Any]:
    stream = _Feed(call)
    try:
        async for chunk in iterator:
            stream.feed(chunk)
            yield chunk
    except GeneratorExit:
        aclose = getattr(iterator, "aclose", None)
        stream.end(None, complete=False)
        if aclose is not None:
            await aclose()
        raise
    except BaseException as error:
        stream.end(error, complete=False)
        raise
    stream.end(None, complete=True)


def _close(iterator: Any) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


class _Feed:
    """A stream as it is read: every chunk is looked at, and a fault ends the looking, not the stream."""

    __slots__ = ("_call", "_last_ns", "_stream")

    def __init__(self, call: ModelCall) -> None:
        self._call = call
        self._stream: ChatStream | None = ChatStream()
        self._last_ns: int | None = None

    def feed(self, chunk: object) -> None:
        """Look at one chunk; never raises."""
        stream = self._stream
        if stream is None:
            return
        try:
            self._last_ns = now = time.time_ns()
            if stream.add(chunk, now):
                self._call.hand_on(stream.requests())
        except Exception as error:
            fault("openai stream", error)
            self._stream = None

    def end(self, error: BaseException | None, *, complete: bool) -> None:
        """Take the reply as far as it came; one that was not read to its end ended with its last chunk."""
        reply: ModelReply | None = None
        try:
            if self._stream is not None:
                reply = self._stream.reply()
        except Exception as own:
            fault("openai stream", own)
        self._call.end(reply, error, None if complete or error is not None else self._last_ns)
