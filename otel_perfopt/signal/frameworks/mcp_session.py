"""MCP client sessions: calls and listings of a server's tools, as the client is imported, in; tool calls out.

A server's `readOnlyHint` becomes the tool's effects where nobody declared them: it is the server's
word, so a policy that trusts it trusts the server.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.interception import Around, Interception
from otel_perfopt.signal.emit.tool_calls import around_tool, current_tool_call
from otel_perfopt.signal.emit.tools import Tool, known_tool, register
from otel_perfopt.signal.emit.trampoline import Kind
from otel_perfopt.signal.frameworks.model_client import take_methods
from otel_perfopt.signal.tool_effects import READ, UNKNOWN, WRITE

MODULES = ("mcp.client.session",)
MAX_TOOLS = 1000
_READ_TIMEOUT, _PROGRESS = "read_timeout_seconds", "progress_callback"

Options = tuple[tuple[str, Any], ...]
CallTool = Callable[..., Awaitable[Any]]


class ErrorResult(Exception):  # noqa: N818 - named as the conventions name it, below
    """A result that says of itself that it is an error: nothing to keep, and none of the client's exceptions."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


# `error.type` of such a call, as the MCP conventions have it.
ErrorResult.__module__, ErrorResult.__qualname__ = "builtins", "tool_error"


@dataclass(slots=True)
class _Session:
    """What is known of one session: its tools' effects, and each way a tool has been called."""

    effects: dict[str, str] = field(default_factory=dict)
    calls: dict[tuple[str, Options], tuple[Tool, Around]] = field(default_factory=dict)


_sessions: weakref.WeakKeyDictionary[Any, _Session] = weakref.WeakKeyDictionary()


def instrument_module(module: object) -> list[Interception]:
    """Take over sessions' tool calls and listings; what undoes it is returned."""
    return take_methods(module, {"ClientSession": {"call_tool": _around_call, "list_tools": _around_listing}})


async def _around_call(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    prepared = None
    try:
        prepared = _prepared(function, args, kwargs)
    except Exception as error:
        fault("mcp call", error)
    if prepared is None:
        return await function(*args, **kwargs)
    tool, around, arguments = prepared
    try:
        return await around(tool.function, (), arguments)  # type: ignore[arg-type]  # any callable will do
    except ErrorResult as said:
        return said.result


async def _around_listing(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = await function(*args, **kwargs)
    try:
        known = _sessions.setdefault(args[0], _Session())
        for tool in result.tools[:MAX_TOOLS]:
            known.effects[tool.name] = _effects_of(getattr(tool, "annotations", None))
    except Exception as error:
        fault("mcp listing", error)
    return result


def _prepared(
    function: FunctionType, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Tool, Around, dict[str, Any]] | None:
    """Return how the call is made as a tool call; None where it is another tool's own way to its result."""
    session, name, arguments, *rest = args
    current = current_tool_call()
    if current is not None and current.tool == name:
        return None  # a framework's tool of that name, which goes through this session
    if not isinstance(name, str) or not (
        arguments is None or (isinstance(arguments, dict) and all(isinstance(key, str) for key in arguments))
    ):
        return None
    named = {**dict(zip((_READ_TIMEOUT, _PROGRESS), rest, strict=False)), **kwargs}
    options = {key: value for key, value in named.items() if value is not None and value is not False}
    tool, around = _tool_for(function, session, name, options, none=arguments is None)
    return tool, around, dict(arguments or {})


def _tool_for(
    function: FunctionType, session: Any, name: str, options: dict[str, Any], *, none: bool
) -> tuple[Tool, Around]:
    """Return the tool behind a name, one for each way to call it: calls of another way are other calls."""
    known = _sessions.setdefault(session, _Session())
    plain = all(isinstance(value, (bool, int, float, str)) for value in options.values())
    key = (name, (*sorted(options.items()), ("no arguments", none)))
    found = known.calls.get(key) if plain else None
    if found is None:
        call = _call_through(function, weakref.ref(session), name, options, none=none)
        tool = register(Tool(name, call, names=()))
        if tool.effects == UNKNOWN:
            tool.effects = known.effects.get(name, UNKNOWN)
        found = (tool, around_tool(tool, Kind.ASYNC))
        if plain and len(known.calls) < MAX_TOOLS:
            known.calls[key] = found
    elif known_tool(name) is not found[0]:
        register(found[0])
    return found


def _call_through(
    function: CallTool, session: weakref.ref[Any], name: str, options: dict[str, Any], *, none: bool
) -> CallTool:
    async def call(**arguments: Any) -> Any:
        target = session()
        if target is None:
            raise RuntimeError("the MCP session is gone")
        result = await function(target, name, arguments or (None if none else {}), **options)
        if getattr(result, "is_error", getattr(result, "isError", False)) is True:
            raise ErrorResult(result)
        return result

    return call


def _effects_of(annotations: Any) -> str:
    read_only = getattr(annotations, "read_only_hint", getattr(annotations, "readOnlyHint", None))
    if read_only is None:
        return UNKNOWN
    return READ if read_only else WRITE
