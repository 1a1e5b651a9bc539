"""The tools that are known: functions with names and effects in, what a call of them looks like out."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import FunctionType, MethodType
from typing import Any

from otel_perfopt.signal.calls import ToolCall
from otel_perfopt.signal.emit.trampoline import parameters

MAX_TOOLS = 10_000
UNKNOWN = "unknown"

_tools: dict[str, Tool] = {}
_declared: list[tuple[str, str]] = []
_batch_forms: dict[str, Callable[..., Any]] = {}


@dataclass(slots=True)
class Tool:
    """A function that the agent uses as a tool.

    `function` goes the plain way. `names` are its positional parameters; where it is a method, the
    first one is the object, kept weakly in `owner` once it is known. `injected` are parameters that a
    framework fills in: no arguments of the model's.
    """

    name: str
    function: Callable[..., Any]
    effects: str = UNKNOWN
    resource: str = ""
    names: tuple[str, ...] | None = None
    extra: str = ""
    method: bool = False
    owner: weakref.ref[Any] | None = None
    injected: frozenset[str] = frozenset()
    inside: ContextVar[bool] = field(default_factory=lambda: ContextVar("otel_perfopt_inside_tool", default=False))

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the arguments by name, without a method's object; None where they have no names.

        `args` and `kwargs` are as a trampoline gives them: every positional parameter is in `args`.
        """
        names = self.names
        if names is None or len(args) < len(names):
            return None
        named = dict(zip(names, args, strict=False))
        if self.method and names:
            del named[names[0]]
        if self.extra and len(args) > len(names):
            named[self.extra] = args[len(names) :]
        if kwargs:
            named.update(kwargs)
        for name in self.injected:
            named.pop(name, None)
        return named

    def template(self) -> ToolCall | None:
        """Return a call without arguments; None for a method whose object is not known or gone."""
        args: tuple[Any, ...] = ()
        if self.method:
            owner = self.owner() if self.owner is not None else None
            if owner is None:
                return None
            args = (owner,)
        return ToolCall(self.name, self.function, args, {}, effects=self.effects)


def known_tool(name: str) -> Tool | None:
    """Return the tool of that name, or None."""
    return _tools.get(name)


def tool_names() -> frozenset[str]:
    """Return the names of all known tools."""
    return frozenset(_tools)


def register(tool: Tool) -> Tool:
    """Make `tool` known by its name; the last one of a name counts."""
    if tool.effects == UNKNOWN:
        tool.effects = declared_effects(tool.name)
    if len(_tools) < MAX_TOOLS or tool.name in _tools:
        _tools[tool.name] = tool
    return tool


def forget(tool: Tool) -> None:
    """Undo `register`."""
    if _tools.get(tool.name) is tool:
        del _tools[tool.name]


def forget_all() -> None:
    """Know no tool any more; those that a program declared itself come back when they are declared again."""
    _tools.clear()


def declare_batch(name: str, function: Callable[..., Any]) -> None:
    """Say which function makes many calls of the tool: a list of arguments by name in, results or exceptions out."""
    if len(_batch_forms) < MAX_TOOLS or name in _batch_forms:
        _batch_forms[name] = function


def batch_form(name: str) -> Callable[..., Any] | None:
    """Return the function that makes many calls of the tool, or None."""
    return _batch_forms.get(name)


def describe(name: str, function: Callable[..., Any], *, effects: str = UNKNOWN, resource: str = "") -> Tool:
    """Return the `Tool` for a function (the copy that goes the plain way) or any other callable."""
    if not isinstance(function, FunctionType):
        return Tool(name, function, effects, resource)
    positional, _, extra, _ = parameters(function.__code__)
    return Tool(name, function, effects, resource, positional, extra, is_method(function))


def is_method(function: FunctionType) -> bool:
    """Tell whether the function was written in a class and takes the object first."""
    scope = function.__qualname__.rpartition(".")[0]
    first = function.__code__.co_varnames[:1] if function.__code__.co_argcount else ()
    return bool(scope) and not scope.endswith("<locals>") and first in (("self",), ("cls",))


def remember_owner(tool: Tool, owner: object) -> None:
    """Keep the object that a method tool was called on, weakly."""
    try:
        tool.owner = weakref.ref(owner)
    except TypeError:
        tool.owner = None


def plain(function: object) -> tuple[FunctionType | None, object | None]:
    """Return the plain function behind a function or bound method, and the object it is bound to."""
    if isinstance(function, MethodType):
        bound = function.__func__
        return (bound if isinstance(bound, FunctionType) else None), function.__self__
    return (function if inspect.isfunction(function) else None), None


def declare_effects(patterns: tuple[str, ...]) -> None:
    """Declare what tools do, by `glob=read` or `glob=write`; the first that matches a name counts."""
    _declared[:] = [
        (pattern.strip(), effects.strip().lower())
        for pattern, _, effects in (item.rpartition("=") for item in patterns)
        if effects.strip().lower() in ("read", "write")
    ]
    for tool in list(_tools.values()):
        if tool.effects == UNKNOWN:
            tool.effects = declared_effects(tool.name)


def declared_effects(name: str) -> str:
    """Return what the tool of that name is declared to do."""
    return next((effects for pattern, effects in _declared if fnmatchcase(name, pattern)), UNKNOWN)
