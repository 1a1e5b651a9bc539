"""The OpenAI Agents SDK: its runner and function tools, as it is imported, in; commands and tool calls out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.interception import Interception
from otel_perfopt.signal.emit.scope import Scope, scoped
from otel_perfopt.signal.emit.sent_content import getter, text
from otel_perfopt.signal.emit.trampoline import Kind
from otel_perfopt.signal.frameworks.agent_run import open_agent
from otel_perfopt.signal.frameworks.framework_tool import take_framework_tool
from otel_perfopt.signal.frameworks.model_client import take_function, take_methods

RUNNER, SCHEMA = "agents.run", "agents.function_schema"
MODULES = (RUNNER, SCHEMA)


def instrument_module(module: object) -> list[Interception]:
    """Take over the runner, or what every function tool's schema is made by; what undoes it is returned."""
    if getattr(module, "__name__", "") == SCHEMA:
        taken = take_function(getattr(module, "function_schema", None), _around_schema)
        return [] if taken is None else [taken]
    # `run_sync` runs through `run`.
    return take_methods(module, {"AgentRunner": {"run": scoped(Kind.ASYNC, _opened), "run_streamed": _around_streamed}})


def _opened(_function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Scope | None:
    agent, asked = args[1], args[2]
    session, settings = getter(kwargs.get("session")), getter(kwargs.get("run_config"))
    conversation = text(kwargs.get("conversation_id")) or text(session("session_id")) or text(settings("group_id"))
    return open_agent(agent, text(getattr(agent, "name", "")) or "agent", asked, conversation_id=conversation)


def _around_streamed(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Open the run before its background task is made, and end it when that ends."""
    scope: Scope | None = None
    try:
        scope = _opened(function, args, kwargs)
    except Exception as error:
        fault("agents run", error)
    if scope is None:
        return function(*args, **kwargs)
    scope.resume()
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        scope.pause()
        scope.end(error)
        raise
    scope.pause()
    task = getattr(result, "run_loop_task", None)
    if isinstance(task, asyncio.Task):
        task.add_done_callback(lambda done: scope.end(_error_of(done)))
    else:
        scope.end()
    return result


def _error_of(task: asyncio.Task[Any]) -> BaseException | None:
    if task.cancelled():
        return asyncio.CancelledError()
    # Not `exception()`: that would count as somebody having looked at it.
    error = getattr(task, "_exception", None)
    return error if isinstance(error, BaseException) else None


def _around_schema(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    schema = function(*args, **kwargs)
    try:
        target = args[0] if args else kwargs.get("func")
        names = getattr(getattr(target, "__code__", None), "co_varnames", ())
        injected = frozenset(names[:1]) if getattr(schema, "takes_context", False) else frozenset()
        take_framework_tool(target, schema.name, injected=lambda: injected)
    except Exception as error:
        fault("agents tool", error)
    return schema
