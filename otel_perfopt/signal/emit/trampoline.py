"""Code that calls someone else first: a function's code and a hook in, code of the same shape that calls the hook out."""

from __future__ import annotations

import ast
import inspect
import itertools
import keyword
import sys
from collections.abc import Callable
from enum import Enum
from types import CodeType, FunctionType
from typing import Any

_HOOK = "\0perfopt hook"
_ORIGINAL = "\0perfopt original"
_INSIDE = "\0perfopt inside"

# Free-threaded builds intern the constants of code objects, which is only defined for literals.
_EMBEDS_OBJECTS = "free-threading" not in sys.version
_lookup: dict[int, Any] = {}
_lookup_ids = itertools.count()


class Kind(Enum):
    """What calling a function gives back."""

    SYNC = "sync"
    ASYNC = "async"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"


class UnsupportedFunctionError(Exception):
    """The function's code has no equivalent that could be written in source."""


def kind_of(function: Callable[..., Any]) -> Kind:
    """Return what calling `function` gives back."""
    flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
    if flags & inspect.CO_ASYNC_GENERATOR:
        return Kind.ASYNC_GENERATOR
    if flags & (inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE):
        return Kind.ASYNC if flags & inspect.CO_COROUTINE else Kind.GENERATOR
    return Kind.GENERATOR if flags & inspect.CO_GENERATOR else Kind.SYNC


def trampoline(
    function: FunctionType,
    hook: Callable[[tuple[Any, ...], dict[str, Any]], Any],
    original: Callable[..., Any],
    inside: Callable[[], Any] | None = None,
) -> CodeType:
    """Return code to stand in for `function.__code__`: same parameters, flags, free variables, name and place.

    It calls `hook(args, kwargs)`: positional parameters and `*args` in one tuple, keyword-only
    parameters and `**kwargs` in one dict, defaults filled in. Where `inside` is given and returns
    something true, it calls `original` straight away (for recursion; sync and async only).

    Raises:
        UnsupportedFunctionError: parameters or free variables that source cannot name.
    """
    code = function.__code__
    kind = kind_of(function)
    reentrant = inside is not None and kind in (Kind.SYNC, Kind.ASYNC)
    values: dict[str, Any] = {_HOOK: hook, _ORIGINAL: original, _INSIDE: inside}
    tree = ast.parse(_source(code, kind, reentrant=reentrant))
    for node in ast.walk(tree):
        # One line for all: in a traceback the frame stands at the function's own `def`.
        for name in ("lineno", "end_lineno"):
            if hasattr(node, name):
                setattr(node, name, 1)
        if isinstance(node, ast.Constant) and node.value in values and not _EMBEDS_OBJECTS:
            node.value = _register(values[node.value])
    compiled = _inner_code(_inner_code(compile(tree, code.co_filename, "exec", dont_inherit=True)))
    if compiled.co_freevars != code.co_freevars:
        raise UnsupportedFunctionError(f"free variables {code.co_freevars} cannot be matched")
    changes: dict[str, Any] = {
        "co_name": code.co_name,
        "co_firstlineno": code.co_firstlineno,
        "co_flags": compiled.co_flags | (code.co_flags & inspect.CO_ITERABLE_COROUTINE),
        "co_consts": tuple(
            values[const] if isinstance(const, str) and const in values else const for const in compiled.co_consts
        ),
    }
    if hasattr(code, "co_qualname"):
        changes["co_qualname"] = code.co_qualname
    return compiled.replace(**changes)


def looked_up(key: int) -> Any:
    """Return what trampolines of a free-threaded build refer to by number."""
    return _lookup[key]


def _register(value: Any) -> int:
    key = next(_lookup_ids)
    _lookup[key] = value
    return key


def _inner_code(code: CodeType) -> CodeType:
    return next(const for const in code.co_consts if isinstance(const, CodeType))


_BODIES = {
    Kind.SYNC: "return {call}",
    Kind.ASYNC: "return await {call}",
    Kind.GENERATOR: "return (yield from {call})",
    # An async generator has no `yield from`: what is sent and thrown in is handed on by hand.
    Kind.ASYNC_GENERATOR: """\
perfopt_generator = {call}
        try:
            perfopt_item = await perfopt_generator.__anext__()
            while True:
                try:
                    perfopt_sent = yield perfopt_item
                except GeneratorExit:
                    await perfopt_generator.aclose()
                    raise
                except BaseException as perfopt_error:
                    perfopt_item = await perfopt_generator.athrow(perfopt_error)
                else:
                    perfopt_item = await perfopt_generator.asend(perfopt_sent)
        except StopAsyncIteration:
            return""",
}


def _source(code: CodeType, kind: Kind, *, reentrant: bool) -> str:
    positional, keywords, extra, extra_keywords = parameters(code)
    free = code.co_freevars
    _check_names((*positional, *keywords, extra, extra_keywords, *free))
    args = "".join(f"{name}, " for name in positional) + (f"*{extra}, " if extra else "")
    pairs = [*(f"{name!r}: {name}" for name in keywords), *([f"**{extra_keywords}"] if extra_keywords else [])]
    call = f"perfopt_hook(({args}), {{{', '.join(pairs)}}})"
    if reentrant:
        plain = [*(f"{name}={name}" for name in keywords), *pairs[len(keywords) :]]
        call = f"(perfopt_original({args}{', '.join(plain)}) if perfopt_inside() else {call})"
    prefix = "async " if kind in (Kind.ASYNC, Kind.ASYNC_GENERATOR) else ""
    return f"""\
def perfopt_outer():
    {" = ".join([*free, "None"])}
    {prefix}def perfopt_trampoline({_parameter_list(code)}):
        perfopt_hook = {_value(_HOOK)}
        {f"perfopt_original = {_value(_ORIGINAL)}; perfopt_inside = {_value(_INSIDE)}" if reentrant else "pass"}
        {_BODIES[kind].format(call=call)}
        {", ".join(free) or "None"}
"""


def _value(placeholder: str) -> str:
    if _EMBEDS_OBJECTS:
        return repr(placeholder)
    return f"__import__({__name__!r}, None, None, ('looked_up',)).looked_up({placeholder!r})"


def parameters(code: CodeType) -> tuple[tuple[str, ...], tuple[str, ...], str, str]:
    """Return a function's positional and keyword-only parameters, and the names of `*args` and `**kwargs` or ''."""
    names = code.co_varnames
    count = code.co_argcount
    positional, keywords = names[:count], names[count : count + code.co_kwonlyargcount]
    position = count + code.co_kwonlyargcount
    extra = extra_keywords = ""
    if code.co_flags & inspect.CO_VARARGS:
        extra, position = names[position], position + 1
    if code.co_flags & inspect.CO_VARKEYWORDS:
        extra_keywords = names[position]
    return positional, keywords, extra, extra_keywords


def _parameter_list(code: CodeType) -> str:
    positional, keywords, extra, extra_keywords = parameters(code)
    parts = list(positional)
    if code.co_posonlyargcount:
        parts.insert(code.co_posonlyargcount, "/")
    if extra:
        parts.append(f"*{extra}")
    elif keywords:
        parts.append("*")
    parts.extend(keywords)
    if extra_keywords:
        parts.append(f"**{extra_keywords}")
    return ", ".join(parts)


def _check_names(names: tuple[str, ...]) -> None:
    for name in names:
        if name and (not name.isidentifier() or keyword.iskeyword(name) or name.startswith("perfopt_")):
            raise UnsupportedFunctionError(f"the name {name!r} cannot be written in source")
