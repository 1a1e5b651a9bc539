"""Tools as a framework's users write them: the function behind a tool in, the same function taken over out."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.interception import Around, Interception, intercept
from otel_perfopt.signal.emit.taken_over import release_tool, take_tool
from otel_perfopt.signal.emit.tool_calls import around_tool, current_tool_call
from otel_perfopt.signal.emit.tools import UNKNOWN, describe, known_tool, plain, register
from otel_perfopt.signal.emit.trampoline import kind_of

# Frameworks make tools of closures, some for each request: each one taken costs a compilation.
MAX_TAKEN = 10_000

_taken: WeakKeyDictionary[FunctionType, Interception] = WeakKeyDictionary()
_count = 0


def take_framework_tool(
    function: Callable[..., Any] | None,
    name: str,
    *,
    injected: Callable[[], frozenset[str]] = frozenset,
    effects: str = UNKNOWN,
) -> None:
    """Make every call of the function behind a framework's tool a tool call; never raises.

    The framework goes on as ever: its own checks, callbacks and conversions stand around the call.
    `injected` gives the parameters that it fills in itself; asked once, when the function is taken.
    """
    global _count  # noqa: PLW0603 - one a process
    try:
        inner, owner = plain(function)
        if inner is None or inner in _taken or _count >= MAX_TAKEN:
            return
        interception = take_tool(inner, name, effects=effects, owner=owner)
        if interception is None:
            return
        _count += 1
        _taken[inner] = interception
        tool = known_tool(name)
        if tool is not None:
            tool.injected = injected()
    except Exception as error:
        fault("framework tool", error)


def take_framework_method(method: FunctionType, *, injected: frozenset[str] = frozenset()) -> None:
    """Make every call of a method of tool objects (`tool.name` says which tool) a tool call; never raises."""
    global _count  # noqa: PLW0603 - one a process
    try:
        if method in _taken or _count >= MAX_TAKEN:
            return
        interception = intercept(method, _MethodTools(method, injected))
        if interception is not None:
            _count += 1
            _taken[method] = interception
    except Exception as error:
        fault("framework tool", error)


class _MethodTools:
    """What stands around a method that several tools share: each object's calls go by that object's name."""

    def __init__(self, method: FunctionType, injected: frozenset[str]) -> None:
        self._kind = kind_of(method)
        self._injected = injected
        self._arounds: dict[str, Around] = {}

    def __call__(self, function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            around = self._around(function, str(args[0].name))
        except Exception as error:
            fault("framework tool", error)
            around = None
        return function(*args, **kwargs) if around is None else around(function, args, kwargs)

    def _around(self, function: FunctionType, name: str) -> Around | None:
        current = current_tool_call()
        if current is not None and current.tool == name:
            return None  # the asynchronous method, which calls the synchronous one
        around = self._arounds.get(name)
        if around is None and len(self._arounds) < MAX_TAKEN:
            tool = describe(name, function)
            tool.method, tool.injected = True, self._injected
            around = self._arounds[name] = around_tool(register(tool), self._kind)
        return around


def release_framework_tools() -> None:
    """Give every function its own way back."""
    global _count  # noqa: PLW0603 - one a process
    for function, interception in list(_taken.items()):
        interception.undo()
        release_tool(function)
    _taken.clear()
    _count = 0
