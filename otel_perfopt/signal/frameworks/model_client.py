"""The methods of a model's client that make a call: how one client's calls are read in, what stands around them out."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Protocol

from otel_perfopt.signal.calls import ToolRequest
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.interception import Around, Interception, intercept
from otel_perfopt.signal.emit.model_calls import ModelCall, ModelReply, ModelRequest, begin_model_call


class StreamedReply(Protocol):
    """A streamed reply, put together event by event."""

    def add(self, event: Any, now_ns: int, /) -> bool:
        """Take an event that arrived at `now_ns`; True when the tool calls are complete with it."""
        ...

    def requests(self) -> tuple[ToolRequest, ...]:
        """Return the tool calls asked for so far."""
        ...

    def reply(self) -> ModelReply | None:
        """Return what has arrived; None when nothing has."""
        ...


@dataclass(frozen=True, slots=True)
class ModelClient:
    """How the calls of one client library are read.

    `request_of` gets the object the method is called on and its keyword arguments; `reply_of` what the
    method returned; None from either means that it is no call of a model. `stream` begins a streamed reply.
    """

    name: str
    request_of: Callable[[object, Mapping[str, Any]], ModelRequest | None]
    reply_of: Callable[[Any], ModelReply | None]
    stream: Callable[[], StreamedReply]


def take_methods(module: object, methods: Mapping[str, Mapping[str, Around]]) -> list[Interception]:
    """Take over methods of classes that were written in `module`, by class and name; what undoes it is returned."""
    done = []
    for class_name, arounds in methods.items():
        written = getattr(module, class_name, None)
        if getattr(written, "__module__", None) != getattr(module, "__name__", None):
            continue
        for name, around in arounds.items():
            interception = take_function(vars(written).get(name), around)
            if interception is not None:
                done.append(interception)
    return done


def take_function(function: object, around: Around) -> Interception | None:
    """Take over a function, or the client's own behind another instrumentation's proxy; None where there is none."""
    while function is not None and not isinstance(function, FunctionType):
        function = getattr(function, "__wrapped__", None)
    return None if function is None else intercept(function, around)


def around_call(client: ModelClient) -> Around:
    """Return what stands around a synchronous method that makes a call."""

    def around(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = _begin(client, args, kwargs)
        return function(*args, **kwargs) if call is None else _made(client, call, lambda: function(*args, **kwargs))

    return around


def around_async_call(client: ModelClient) -> Around:
    """Return what stands around an asynchronous method that makes a call."""

    def around(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Called at once, so that wrong arguments are refused where the client refuses them.
        coroutine = function(*args, **kwargs)
        return _awaited(client, coroutine, args, kwargs) if isinstance(coroutine, Coroutine) else coroutine

    return around


def around_manager(client: ModelClient) -> Around:
    """Return what stands around a method whose context manager makes the call when it is entered."""

    def around(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        manager = function(*args, **kwargs)
        _replace_request(client, manager, lambda request: lambda: _managed(client, request, args, kwargs))
        return manager

    return around


def around_async_manager(client: ModelClient) -> Around:
    """Return what stands around a method whose asynchronous context manager makes the call when it is entered."""

    def around(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        manager = function(*args, **kwargs)
        _replace_request(client, manager, lambda request: _Deferred(client, request, args, kwargs))
        return manager

    return around


def _replace_request(client: ModelClient, manager: object, replaced: Callable[[Any], Any]) -> None:
    """Replace what the client's managers keep to make the call with."""
    try:
        name = next((name for name in vars(manager) if name.endswith("__api_request")), None)
        if name is not None:
            setattr(manager, name, replaced(getattr(manager, name)))
    except Exception as error:
        fault(f"{client.name} stream", error)


def _managed(client: ModelClient, request: Callable[[], Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    call = _begin(client, args, kwargs)
    return request() if call is None else _made(client, call, request)


class _Deferred:
    """A call that is made when it is awaited; one that never is leaves the client's own request to complain."""

    __slots__ = ("_args", "_client", "_kwargs", "_request")

    def __init__(
        self, client: ModelClient, request: Awaitable[Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._client, self._request, self._args, self._kwargs = client, request, args, kwargs

    def __await__(self) -> Generator[Any, Any, Any]:
        return _awaited(self._client, self._request, self._args, self._kwargs).__await__()


def _begin(client: ModelClient, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ModelCall | None:
    try:
        request = client.request_of(args[0] if args else None, kwargs)
    except Exception as error:
        fault(f"{client.name} request", error)
        return None
    return None if request is None else begin_model_call(request)


def _made(client: ModelClient, call: ModelCall, request: Callable[[], Any]) -> Any:
    call.enter()
    try:
        result = request()
    except BaseException as error:
        call.leave()
        call.end(None, error)
        raise
    call.leave()
    _receive(client, call, result, _observed)
    return result


async def _awaited(client: ModelClient, request: Awaitable[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    call = _begin(client, args, kwargs)
    if call is None:
        return await request
    call.enter()
    try:
        result = await request
    except BaseException as error:
        call.leave()
        call.end(None, error)
        raise
    call.leave()
    _receive(client, call, result, _observed_async)
    return result


def _receive(client: ModelClient, call: ModelCall, result: Any, observed: Callable[[Any, _Feed], Any]) -> None:
    """Take a result: a reply, a stream, or a raw response that holds one of them (and keeps what it parsed)."""
    try:
        if hasattr(result, "http_response") and hasattr(result, "parse"):
            result = _parsed(result)
        iterator = getattr(result, "_iterator", None)
        if iterator is not None:
            # The stream stays the client's own object.
            result._iterator = observed(iterator, _Feed(client, call))  # noqa: SLF001
            return
        call.end(client.reply_of(result))
    except Exception as error:
        fault(f"{client.name} reply", error)
        call.end(None)


def _parsed(response: Any) -> Any:
    """Return what a raw response holds, as its user will get it again; None where its body has not been read yet."""
    read = type(response).__name__ == "LegacyAPIResponse" or getattr(response, "_is_sse_stream", False)
    if not (read or getattr(response.http_response, "is_stream_consumed", False)):
        return None
    parsed = response.parse()
    if not isinstance(parsed, Coroutine):
        return parsed
    try:
        parsed.send(None)  # nothing is left to wait for
    except StopIteration as done:
        return done.value
    parsed.close()
    return None


def _observed(iterator: Iterator[Any], feed: _Feed) -> Iterator[Any]:
    try:
        for event in iterator:
            feed.take(event)
            yield event
    except GeneratorExit:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
        feed.end(None, complete=False)
        raise
    except BaseException as error:
        feed.end(error, complete=False)
        raise
    feed.end(None, complete=True)


async def _observed_async(iterator: AsyncIterator[Any], feed: _Feed) -> AsyncIterator[Any]:
    try:
        async for event in iterator:
            feed.take(event)
            yield event
    except GeneratorExit:
        aclose = getattr(iterator, "aclose", None)
        feed.end(None, complete=False)
        if aclose is not None:
            await aclose()
        raise
    except BaseException as error:
        feed.end(error, complete=False)
        raise
    feed.end(None, complete=True)


class _Feed:
    """A stream as it is read: every event is looked at, and a fault ends the looking, not the stream."""

    __slots__ = ("_call", "_last_ns", "_name", "_stream")

    def __init__(self, client: ModelClient, call: ModelCall) -> None:
        self._name = client.name
        self._call = call
        self._stream: StreamedReply | None = client.stream()
        self._last_ns: int | None = None

    def take(self, event: object) -> None:
        """Look at one event; never raises."""
        stream = self._stream
        if stream is None:
            return
        try:
            self._last_ns = now = time.time_ns()
            if stream.add(event, now):
                self._call.hand_on(stream.requests())
        except Exception as error:
            fault(f"{self._name} stream", error)
            self._stream = None

    def end(self, error: BaseException | None, *, complete: bool) -> None:
        """Take the reply as far as it came; one that was not read to its end ended with its last event."""
        reply: ModelReply | None = None
        try:
            if self._stream is not None:
                reply = self._stream.reply()
        except Exception as own:
            fault(f"{self._name} stream", own)
        self._call.end(reply, error, None if complete or error is not None else self._last_ns)

    def __del__(self) -> None:
        # A stream that nobody ever read was thrown away: its generator never ran, and so never ends the call.
        self._call.end(None)
