"""Functions made commands or tools: a function, or anything callable, in, the same object (or a proxy of it) out."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from otel_perfopt.signal.emit.interception import Around, Interception, intercept
from otel_perfopt.signal.emit.tool_calls import around_tool
from otel_perfopt.signal.emit.tools import UNKNOWN, Tool, describe, forget, plain, register, remember_owner
from otel_perfopt.signal.emit.trampoline import Kind, kind_of

F = TypeVar("F", bound=Callable[..., Any])

_tools: WeakKeyDictionary[FunctionType, Tool] = WeakKeyDictionary()


def take_tool(
    function: FunctionType, name: str, *, effects: str = UNKNOWN, resource: str = "", owner: object | None = None
) -> Interception | None:
    """Make every call of a plain function, by whatever reference, a tool call.

    `owner` is the object that a method is known to be called on.

    Returns:
        What undoes it; None where the function is a tool already or cannot be taken over.
    """
    if function in _tools:
        return None
    tool = describe(name, function, effects=effects, resource=resource)
    if owner is not None and tool.method:
        remember_owner(tool, owner)
    interception = intercept(function, around_tool(tool, kind_of(function)), inside=tool.inside)
    if interception is not None:
        tool.function = interception.original
        _tools[function] = tool
        register(tool)
    return interception


def release_tool(function: FunctionType | None) -> None:
    """Forget that a function is a tool, after its interception has been undone."""
    tool = None if function is None else _tools.pop(function, None)
    if tool is not None:
        forget(tool)


def tool_taken_over(function: F, name: str, *, effects: str = UNKNOWN, resource: str = "") -> F:
    """Make `function` a tool and return it; a proxy where it is no plain function."""
    inner, owner = plain(getattr(function, "__func__", function))
    if inner is not None and (
        inner in _tools or take_tool(inner, name, effects=effects, resource=resource, owner=owner) is not None
    ):
        return function
    tool = register(describe(name, function, effects=effects, resource=resource))
    return proxied(function, around_tool(tool, kind_of(function)))


def taken_over(function: F, around_of: Callable[[Kind], Around]) -> F:
    """Put an `around` on every call of `function` and return it; a proxy where it is no plain function."""
    inner: Any = getattr(function, "__func__", function)
    around = around_of(kind_of(inner))
    if isinstance(inner, FunctionType) and intercept(inner, around) is not None:
        return function
    return proxied(function, around)


def proxied(function: F, around: Around) -> F:
    """Return a proxy of anything callable whose calls go through `around`."""
    import wrapt  # noqa: PLC0415 - needed only for what is no plain function

    def call(wrapped: Any, _instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return around(wrapped, args, kwargs)

    proxy: Any = wrapt.FunctionWrapper(function, call)
    return proxy  # type: ignore[no-any-return]  # a proxy is what it stands for
