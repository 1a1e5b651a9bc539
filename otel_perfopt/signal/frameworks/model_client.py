"""The methods of a model's client that make a call: how one client's calls are read in, what stands around them out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from otel_perfopt.signal.calls import InferenceCall
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.inference_calls import intercepted, send, send_async
from otel_perfopt.signal.emit.interception import Around, Interception, intercept
from otel_perfopt.signal.emit.model_calls import ModelCall, ModelReply, ModelRequest, begin_model_call
from otel_perfopt.signal.frameworks.observed_stream import Feed, StreamedReply, observed, observed_async


@dataclass(frozen=True, slots=True)
class ModelClient:
    """How the calls of one client library are read.

    `request_of` gets the object the method is called on and its keyword arguments; `reply_of` what the
    method returned; None from either means that it is no call of a model. `stream` begins a streamed reply.
    `api` names the keyword arguments for whoever stands in the way of calls.
    """

    name: str
    request_of: Callable[[object, Mapping[str, Any]], ModelRequest | None]
    reply_of: Callable[[Any], ModelReply | None]
    stream: Callable[[], StreamedReply]
    api: str = ""


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
        if call is None:
            return function(*args, **kwargs)
        return _made(client, call, _Sending(function, args, kwargs, lambda given, sent: function(*given, **sent)))

    return around


def around_async_call(client: ModelClient) -> Around:
    """Return what stands around an asynchronous method that makes a call."""

    def around(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Called at once, so that wrong arguments are refused where the client refuses them.
        coroutine = function(*args, **kwargs)
        if not isinstance(coroutine, Coroutine):
            return coroutine
        sending = _Sending(function, args, kwargs, lambda given, sent: function(*given, **sent), coroutine)
        return _awaited(client, sending)

    return around


def around_manager(client: ModelClient) -> Around:
    """Return what stands around a method whose context manager makes the call when it is entered."""

    def around(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        manager = function(*args, **kwargs)

        def replaced(request: Callable[[], Any]) -> Callable[[], Any]:
            def again(given: tuple[Any, ...], sent: Mapping[str, Any]) -> Any:
                own = sent is kwargs and given is args
                return request() if own else _request_of(function(*given, **sent))()

            return lambda: _managed(client, _Sending(function, args, kwargs, again))

        _replace_request(client, manager, replaced)
        return manager

    return around


def around_async_manager(client: ModelClient) -> Around:
    """Return what stands around a method whose asynchronous context manager makes the call when it is entered."""

    def around(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        manager = function(*args, **kwargs)

        def replaced(request: Awaitable[Any]) -> _Deferred:
            def again(given: tuple[Any, ...], sent: Mapping[str, Any]) -> Any:
                return _request_of(function(*given, **sent))

            return _Deferred(client, _Sending(function, args, kwargs, again, request))

        _replace_request(client, manager, replaced)
        return manager

    return around


def _replace_request(client: ModelClient, manager: object, replaced: Callable[[Any], Any]) -> None:
    """Replace what the client's managers keep to make the call with."""
    try:
        name = _request_name(manager)
        if name is not None:
            setattr(manager, name, replaced(getattr(manager, name)))
    except Exception as error:
        fault(f"{client.name} stream", error)


def _request_name(manager: object) -> str | None:
    return next((name for name in vars(manager) if name.endswith("__api_request")), None)


def _request_of(manager: object) -> Any:
    """Return what a manager, just made, keeps to make the call with."""
    name = _request_name(manager)
    if name is None:
        raise LookupError("the client's manager keeps its request elsewhere")
    return getattr(manager, name)


@dataclass(slots=True)
class _Sending:
    """How one call is sent: the client's function, the agent's arguments, and what sends any arguments.

    `first` is the call already begun with the agent's own arguments, where the client begins it at once.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    again: Callable[[tuple[Any, ...], Mapping[str, Any]], Any]
    first: Awaitable[Any] | None = None

    def request(self, call: InferenceCall) -> Any:
        """Send a synchronous call."""
        return self.again(self._given(call), call.kwargs if call.changed else self.kwargs)

    async def request_async(self, call: InferenceCall) -> Any:
        """Send an asynchronous call."""
        if call.changed or call.redirected:
            return await self.again(self._given(call), call.kwargs)
        return await self.plainly()

    async def plainly(self) -> Any:
        """Send what the agent gave: what was begun, or the same once more."""
        first, self.first = self.first, None
        return await (self.again(self.args, self.kwargs) if first is None else first)

    def _given(self, call: InferenceCall) -> tuple[Any, ...]:
        return (call.target, *self.args[1:]) if call.redirected else self.args

    def drop(self) -> None:
        """Close what was begun and is not needed, so that nobody complains that it was never awaited."""
        first, self.first = self.first, None
        if isinstance(first, Coroutine):
            first.close()


def _managed(client: ModelClient, sending: _Sending) -> Any:
    call = _begin(client, sending.args, sending.kwargs)
    return sending.again(sending.args, sending.kwargs) if call is None else _made(client, call, sending)


class _Deferred:
    """A call that is made when it is awaited; one that never is leaves the client's own request to complain."""

    __slots__ = ("_client", "_sending")

    def __init__(self, client: ModelClient, sending: _Sending) -> None:
        self._client, self._sending = client, sending

    def __await__(self) -> Generator[Any, Any, Any]:
        return _awaited(self._client, self._sending).__await__()


def _begin(client: ModelClient, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ModelCall | None:
    try:
        request = client.request_of(args[0] if args else None, kwargs)
    except Exception as error:
        fault(f"{client.name} request", error)
        return None
    call = None if request is None else begin_model_call(request)
    if call is not None:
        call.look_at(kwargs)
    return call


def _made(client: ModelClient, call: ModelCall, sending: _Sending) -> Any:
    call.enter()
    try:
        shown = intercepted(call, client.api, sending.function, sending.args, sending.kwargs, reply_of=client.reply_of)
        result = sending.again(sending.args, sending.kwargs) if shown is None else send(shown, sending.request)
    except BaseException as error:
        call.leave()
        call.end(None, error)
        raise
    call.leave()
    _receive(client, call, result, observed)
    return result


async def _awaited(client: ModelClient, sending: _Sending) -> Any:
    call = _begin(client, sending.args, sending.kwargs)
    if call is None:
        return await sending.plainly()
    call.enter()
    try:
        shown = intercepted(call, client.api, sending.function, sending.args, sending.kwargs, reply_of=client.reply_of)
        result = await (sending.plainly() if shown is None else send_async(shown, sending.request_async))
    except BaseException as error:
        call.leave()
        call.end(None, error)
        raise
    finally:
        sending.drop()
    call.leave()
    _receive(client, call, result, observed_async)
    return result


def _receive(client: ModelClient, call: ModelCall, result: Any, watch: Callable[[Any, Feed], Any]) -> None:
    """Take a result: a reply, a stream, or a raw response that holds one of them (and keeps what it parsed)."""
    try:
        if hasattr(result, "http_response") and hasattr(result, "parse"):
            result = _parsed(result)
        iterator = getattr(result, "_iterator", None)
        if iterator is not None:
            # The stream stays the client's own object.
            result._iterator = watch(iterator, Feed(client.name, client.stream(), call))  # noqa: SLF001
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
