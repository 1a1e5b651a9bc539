"""Calls of tools as they happen: an intercepted call in, its span out, with whoever stands in the way asked first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from types import FunctionType
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN

from otel_perfopt import conventions as c
from otel_perfopt.signal.calls import Interceptor, RunContext, ToolCall, ToolRequest
from otel_perfopt.signal.emit import implicit, tool_span
from otel_perfopt.signal.emit.attempt import AsyncAttempt, Attempt
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.interception import Around
from otel_perfopt.signal.emit.runs import current_run, enter_run, find_request, leave_run, take_request
from otel_perfopt.signal.emit.scope import Scope, scoped
from otel_perfopt.signal.emit.tools import Tool, known_tool, remember_owner
from otel_perfopt.signal.emit.tracing import attach, context_with, detach
from otel_perfopt.signal.emit.trampoline import Kind

_interceptor: Interceptor | None = None
_current: ContextVar[ToolCall | None] = ContextVar("otel_perfopt_tool_call", default=None)


def set_interceptor(interceptor: Interceptor | None) -> None:
    """Put `interceptor` between the agent and its tools; None takes it away."""
    global _interceptor  # noqa: PLW0603 - one a process, as the calls it stands before
    _interceptor = interceptor


def get_interceptor() -> Interceptor | None:
    """Return who stands between the agent and its tools."""
    return _interceptor


def current_tool_call() -> ToolCall | None:
    """Return the tool call that is being made here, or None."""
    return _current.get()


def execute(call: ToolCall) -> Any:
    """Make the plain call inside its span; the result, or the exception unchanged."""
    place = _Place(call)
    try:
        result = call.function(*call.args, **call.kwargs)
    except BaseException as error:
        place.leave()
        tool_span.fail(place.span, error)
        raise
    place.leave()
    tool_span.finish(place.span, call, result)
    return result


async def execute_async(call: ToolCall) -> Any:
    """Make the plain asynchronous call inside its span; the result, or the exception unchanged."""
    place = _Place(call)
    try:
        result = await call.function(*call.args, **call.kwargs)
    except BaseException as error:
        place.leave()
        tool_span.fail(place.span, error)
        raise
    place.leave()
    tool_span.finish(place.span, call, result)
    return result


class _Place:
    """Where a tool's own code runs: inside its call's span, known as the current tool call."""

    __slots__ = ("context", "outer", "run", "span")

    def __init__(self, call: ToolCall) -> None:
        self.span = tool_span.start(call)
        self.context: Token[Context] | None = None
        self.run: Token[RunContext | None] | None = None
        self.outer: Token[ToolCall | None] | None = None
        try:
            self._enter(call)
        except Exception as error:
            fault("tool context", error)

    def _enter(self, call: ToolCall) -> None:
        self.outer = _current.set(call)
        # What runs inside belongs to the command, also where only the request told which one it is.
        if call.run is not None and call.run.implicit:
            self.run = enter_run(call.run)
        if self.span is not INVALID_SPAN and self.span.is_recording():
            context = context_with(self.span)
            self.context = None if context is None else attach(context)

    def leave(self) -> None:
        """Make current what was so before."""
        try:
            if self.outer is not None:
                _current.reset(self.outer)
        except ValueError:
            return  # a coroutine closed from another context, which was never inside
        except Exception as error:
            fault("tool context", error)
        if self.run is not None:
            leave_run(self.run)
        if self.context is not None:
            detach(self.context)


def record_hit(call: ToolCall, result: object) -> None:
    """Record a call whose result came from elsewhere (a cache): a span of no duration; never raises.

    The digests are left out unless given in `call.span_attributes`, so that a hit stays cheap.
    """
    tool_span.hit(call, result)


def reply_arrived(run: RunContext, requests: Sequence[ToolRequest]) -> None:
    """Tell the interceptor what a model's reply asks for; never raises."""
    interceptor = _interceptor
    if interceptor is None or not requests:
        return
    try:
        interceptor.on_reply(run, requests, _templates(run, requests))
    except Exception as error:
        fault("interceptor on_reply", error)


def reply_part_arrived(run: RunContext, requests: Sequence[ToolRequest]) -> None:
    """Tell the interceptor, where it wants to know, what a reply that still streams asks for so far; never raises."""
    listen = getattr(_interceptor, "on_reply_part", None)
    if listen is None or not requests:
        return
    try:
        listen(run, requests, _templates(run, requests))
    except Exception as error:
        fault("interceptor on_reply_part", error)


def _templates(run: RunContext, requests: Sequence[ToolRequest]) -> dict[str, ToolCall]:
    tools = {request.name: known_tool(request.name) for request in requests}
    functions = {name: call for name, tool in tools.items() if tool and (call := tool.template())}
    for call in functions.values():
        call.run = run
    return functions


def around_tool(tool: Tool, kind: Kind) -> Around:
    """Return what stands around every call of `tool`, a function of that kind."""
    if kind is Kind.SYNC:
        return lambda function, args, kwargs: _call(tool, function, args, kwargs)
    if kind is Kind.ASYNC:
        return lambda function, args, kwargs: _call_async(tool, function, args, kwargs)
    # What a generator yields cannot come from elsewhere: it is watched, and nobody stands in its way.
    return scoped(kind, lambda function, args, kwargs: _open(tool, function, args, kwargs))


def _open(tool: Tool, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Scope | None:
    call = describe_call(tool, function, args, kwargs)
    return None if call is None else Scope(tool_span.start(call), call.run)


def _call(tool: Tool, function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    call = describe_call(tool, function, args, kwargs)
    if call is None:
        return function(*args, **kwargs)
    inside = _enter_tool(tool)
    try:
        interceptor = _interceptor_for(call)
        if interceptor is None:
            return execute(call)
        attempt = Attempt(call, execute)
        try:
            return interceptor.around_tool(call, attempt)
        except Exception as error:
            if attempt.explains(error):
                raise
            fault("interceptor", error)
        return attempt.plain()
    finally:
        _reset(tool, inside)


async def _call_async(tool: Tool, function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    call = describe_call(tool, function, args, kwargs)
    if call is None:
        return await function(*args, **kwargs)
    inside = _enter_tool(tool)
    try:
        interceptor = _interceptor_for(call)
        if interceptor is None:
            return await execute_async(call)
        attempt = AsyncAttempt(call, execute_async)
        try:
            return await interceptor.around_tool_async(call, attempt)
        except Exception as error:
            if attempt.explains(error):
                raise
            fault("interceptor", error)
        return await attempt.plain()
    finally:
        _reset(tool, inside)


def _interceptor_for(call: ToolCall) -> Interceptor | None:
    """Return who stands in the way of this call.

    A tool that calls another one goes the plain way, unless a model asked for the inner call: a
    write that reads first must read what is there now.
    """
    return _interceptor if call.requested is not None or _current.get() is None else None


def _enter_tool(tool: Tool) -> Token[bool] | None:
    try:
        return tool.inside.set(True)
    except Exception as error:
        fault("tool context", error)
        return None


def _reset(tool: Tool, token: Token[bool] | None) -> None:
    try:
        if token is not None:
            tool.inside.reset(token)
    except ValueError:
        pass  # a coroutine closed from another context: that context never had the value
    except Exception as error:
        fault("tool context", error)


def describe_call(
    tool: Tool, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ToolCall | None:
    """Return the call with its run and the model's request it answers; None on a fault: make the plain call."""
    try:
        if tool.method and args and (tool.owner is None or tool.owner() is not args[0]):
            remember_owner(tool, args[0])
        arguments = tool.arguments(args, kwargs)
        run = current_run()
        call = ToolCall(tool.name, function, args, kwargs, run, effects=tool.effects, arguments=arguments)
        # A call inside another tool's call is that tool's own doing, unless the model asked for just this.
        nested = _current.get() is not None
        if run is not None:
            asked = find_request(run, tool.name, arguments, exact=nested)
        else:
            run, asked = implicit.commands().for_tool_call(tool.name, arguments, exact=nested)
            call.run = run
        if run is not None and asked is not None:
            take_request(run, asked)
            call.requested, call.requested_by = asked.request, asked.span_id
        if tool.resource:
            call.span_attributes[c.TOOL_RESOURCE] = tool.resource.format_map(arguments or {})
    except Exception as error:
        fault("tool call", error)
        return None
    return call
