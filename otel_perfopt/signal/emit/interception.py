"""Functions taken over in place: a plain function and an `around` in, the same function object taking the new way out."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from types import CodeType, FunctionType
from typing import Any

from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.trampoline import Kind, UnsupportedFunctionError, kind_of, trampoline

# What stands around a call: the plain function, positional and keyword arguments in; what the
# function would have given (a value, coroutine, generator or asynchronous generator) out.
Around = Callable[[FunctionType, tuple[Any, ...], dict[str, Any]], Any]


@dataclass(slots=True)
class Interception:
    """One function taken over; `original` is a copy that goes the old way."""

    function: weakref.ref[FunctionType]
    original: FunctionType
    kind: Kind
    before: CodeType
    trampoline: CodeType
    active: bool = True

    def undo(self) -> None:
        """Give the function its own code back; where someone took it over after us, step aside instead."""
        self.active = False
        function = self.function()
        if function is not None and function.__code__ is self.trampoline:
            function.__code__ = self.before


def intercept(function: FunctionType, around: Around, *, inside: ContextVar[bool] | None = None) -> Interception | None:
    """Make every call of `function`, by whatever reference, go through `around`.

    The function object stays the same one: its `__code__` is exchanged for code with the same
    parameters, flags, free variables and name, so signatures, annotations, defaults, pickling and
    references made earlier all hold. While `inside` is true in the calling context, calls go
    straight to the original. Interceptions of one function stack.

    Returns:
        What undoes it, or None where the function cannot be taken over.
    """
    try:
        original = copy_of(function)
        hook = _Hook(original, around)
        code = trampoline(function, hook, original, None if inside is None else _reader(inside))
        interception = Interception(weakref.ref(function), original, kind_of(function), function.__code__, code)
        hook.interception = interception
        function.__code__ = code
    except UnsupportedFunctionError:
        return None
    except Exception as error:
        fault("interception", error)
        return None
    return interception


class _Hook:
    """What a trampoline calls; a callable object, so that undoing can be seen by calls made later."""

    __slots__ = ("around", "interception", "original")

    def __init__(self, original: FunctionType, around: Around) -> None:
        self.original = original
        self.around = around
        self.interception: Interception | None = None

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        interception = self.interception
        if interception is None or not interception.active:
            return self.original(*args, **kwargs)
        return self.around(self.original, args, kwargs)


def _reader(inside: ContextVar[bool]) -> Callable[[], Any]:
    # All C: no Python frame, so that a recursive function has half its depth left, not a quarter.
    return partial(inside.get, False)  # noqa: FBT003 - ContextVar.get takes its default by position


def copy_of(function: FunctionType) -> FunctionType:
    """Return a new function object with everything of `function`, its present code included."""
    copy = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__dict__.update(function.__dict__)
    copy.__qualname__, copy.__module__, copy.__doc__ = function.__qualname__, function.__module__, function.__doc__
    if sys.version_info >= (3, 14):
        copy.__annotate__ = function.__annotate__  # evaluated only when somebody asks
    else:
        copy.__annotations__ = function.__annotations__
    if sys.version_info >= (3, 12):
        copy.__type_params__ = function.__type_params__
    return copy
