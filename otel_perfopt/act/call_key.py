"""When two calls are the same call: a function and its arguments in, an equal hashable key for equal calls out."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from types import MethodType
from typing import Any

MAX_DEPTH = 32
MAX_VALUES = 5000
_SELF_NAMES = frozenset({"self", "cls"})


class UnkeyableError(Exception):
    """The arguments hold something that cannot be told apart by value."""


class Identity:
    """An object as itself: equal only to the same living object, and never keeping it alive."""

    __slots__ = ("_id", "_reference")

    def __init__(self, value: object) -> None:
        self._id = id(value)
        self._reference = weakref.ref(value)

    def __hash__(self) -> int:
        return self._id

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Identity) or self._id != other._id:
            return False
        mine = self._reference()
        return mine is not None and mine is other._reference()


@dataclass(frozen=True, slots=True)
class _Shape:
    """A function's parameters as binding needs them."""

    positional: tuple[str, ...]
    keyword_only: tuple[str, ...]
    positional_only: frozenset[str]
    defaults: Mapping[str, Hashable]
    takes_more: bool
    takes_more_keywords: bool


_shapes: weakref.WeakKeyDictionary[Callable[..., Any], _Shape] = weakref.WeakKeyDictionary()


def call_key(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Hashable | None:
    """Return a key equal for equal calls of one function, or None where the call has none.

    Positional and keyword calls agree, defaults are filled in, and types are told apart (`1`, `1.0`
    and `True` differ). The function and a method's object count by identity, so two closures of one
    name never share a key. None: arguments that do not fit the signature, or that are no plain data.
    """
    try:
        plain: Any = function
        if isinstance(plain, MethodType):
            function, args = plain.__func__, (plain.__self__, *args)
        shape = _shapes.get(function)
        if shape is None:
            shape = _shapes[function] = _shape_of(function)
        return Identity(function), _bind(shape, args, kwargs)
    except (UnkeyableError, TypeError, ValueError):
        return None


def _shape_of(function: Callable[..., Any]) -> _Shape:
    parameters = inspect.signature(function).parameters.values()
    kinds = inspect.Parameter
    return _Shape(
        positional=tuple(p.name for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)),
        keyword_only=tuple(p.name for p in parameters if p.kind is kinds.KEYWORD_ONLY),
        positional_only=frozenset(p.name for p in parameters if p.kind is kinds.POSITIONAL_ONLY),
        defaults={p.name: _freeze_default(p) for p in parameters if p.default is not kinds.empty},
        takes_more=any(p.kind is kinds.VAR_POSITIONAL for p in parameters),
        takes_more_keywords=any(p.kind is kinds.VAR_KEYWORD for p in parameters),
    )


def _freeze_default(parameter: inspect.Parameter) -> Hashable:
    try:
        return freeze(parameter.default)
    except UnkeyableError:
        # A sentinel: the same object at every call that leaves the argument out.
        return ("default", parameter.name)


def _bind(shape: _Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Hashable:
    named, more = args[: len(shape.positional)], args[len(shape.positional) :]
    if more and not shape.takes_more:
        raise UnkeyableError("too many arguments")
    bound: dict[str, Hashable] = dict(shape.defaults)
    for index, value in enumerate(named):
        name = shape.positional[index]
        if name in kwargs and name not in shape.positional_only:
            raise UnkeyableError(f"{name} is given twice")
        bound[name] = _freeze_first(value) if index == 0 and name in _SELF_NAMES else freeze(value)
    extra: list[tuple[str, Hashable]] = []
    for name, value in kwargs.items():
        if name in shape.keyword_only or (name in shape.positional and name not in shape.positional_only):
            bound[name] = freeze(value)
        elif shape.takes_more_keywords:
            extra.append((name, freeze(value)))
        else:
            raise UnkeyableError(f"no parameter is called {name}")
    expected = (*shape.positional, *shape.keyword_only)
    if len(bound) != len(expected):
        raise UnkeyableError("an argument is missing")
    return tuple(bound[name] for name in expected), freeze(more), tuple(sorted(extra, key=lambda pair: pair[0]))


def _freeze_first(value: object) -> Hashable:
    try:
        return freeze(value)
    except UnkeyableError:
        return Identity(value)


def freeze(value: object) -> Hashable:
    """Return a hashable twin of plain data: None, bool, int, float, str, bytes, and lists, tuples, dicts of them.

    The order of a dict's items counts, because the tool may see it.

    Raises:
        UnkeyableError: anything else, or too large or too deep.
    """
    return _freeze(value, MAX_DEPTH, [MAX_VALUES])


def _freeze(value: object, depth: int, left: list[int]) -> Hashable:
    kind = type(value)
    if value is None or kind is str:
        return value
    if kind is float:
        return kind, repr(value)
    if kind in (int, bool, bytes):
        return kind, value
    left[0] -= len(value) if isinstance(value, (dict, list, tuple)) else 0
    if depth == 0 or left[0] < 0:
        raise UnkeyableError("too large")
    if isinstance(value, (list, tuple)) and kind in (list, tuple):
        return kind, tuple(_freeze(item, depth - 1, left) for item in value)
    if isinstance(value, dict) and kind is dict:
        return kind, tuple((_text(key), _freeze(item, depth - 1, left)) for key, item in value.items())
    raise UnkeyableError(f"{kind.__name__} is no plain data")


def _text(key: object) -> str:
    if type(key) is not str:
        raise UnkeyableError("a key that is no text")
    return key
