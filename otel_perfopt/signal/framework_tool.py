"""Tools as a framework's users write them: the function behind a tool in, the same function taken over out."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from otel_perfopt.signal.faults import fault
from otel_perfopt.signal.interception import Interception
from otel_perfopt.signal.taken_over import release_tool, take_tool
from otel_perfopt.signal.tools import UNKNOWN, known_tool, plain

# Frameworks make tools of closures, some for each request: each one taken costs a compilation.
MAX_TAKEN = 10_000

_taken: WeakKeyDictionary[FunctionType, Interception] = WeakKeyDictionary()
_count = 0


def take_framework_tool(
    function: Callable[..., Any] | None,
    name: str,
    *,
    injected: frozenset[str] = frozenset(),
    effects: str = UNKNOWN,
) -> None:
    """Make every call of the function behind a framework's tool a tool call; never raises.

    The framework goes on as ever: its own checks, callbacks and conversions stand around the call.
    `injected` are the parameters that it fills in itself.
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
            tool.injected = injected
    except Exception as error:
        fault("framework tool", error)


def release_framework_tools() -> None:
    """Give every function its own way back."""
    global _count  # noqa: PLW0603 - one a process
    for function, interception in list(_taken.items()):
        interception.undo()
        release_tool(function)
    _taken.clear()
    _count = 0
