"""Which loads a start could have done without: trees of loads in, the time that each would spare out."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from otel_perfopt.signal.emit.module_load import Load


def spare(loads: Sequence[Load], uses: Mapping[str, Collection[tuple[str, ...]]]) -> list[str]:
    """Set `spared_ns` of each topmost load that could have waited and was not used meanwhile, all of them put off.

    Returns their names.

    `uses` says by module which others were being loaded, one inside the other, when something of it was
    used: that counts unless one of those is put off too. What the remaining modules stand on would be
    loaded all the same, by whoever asks next. Whom they stand on is read off their namespaces: the
    modules that their values are, or were defined in.
    """
    put_off, eager = _put_off(loads, uses)
    within = {inner.name: load for load in put_off for inner in _inside(load)}
    needed = _needed(eager, within, {load.name for load in put_off})
    for load in put_off:
        load.spared_ns = sum(inner.self_ns for inner in _inside(load) if inner.name not in needed)
    return [load.name for load in put_off]


def _put_off(loads: Sequence[Load], uses: Mapping[str, Collection[tuple[str, ...]]]) -> tuple[list[Load], list[str]]:
    """Return the loads that can all be put off together, and the names of those that are then still made."""
    used: set[str] = set()
    while True:
        put_off: list[Load] = []
        eager = ["__main__"]
        for load in loads:
            _sort(load, used, put_off, eager)
        gone = {inner.name for load in put_off for inner in _inside(load)}
        wanted = {load.name for load in put_off if not all(gone & {*stack} for stack in uses.get(load.name, ()))}
        if not wanted:
            return put_off, eager
        used |= wanted


def _sort(load: Load, used: Collection[str], put_off: list[Load], eager: list[str]) -> None:
    if load.may_wait and load.name not in used:
        put_off.append(load)
        # The packages around a module are loaded before it, and do not wait.
        for inner in load.inside:
            if _is_around(inner, load):
                _sort(inner, used, put_off, eager)
        return
    eager.append(load.name)
    for inner in load.inside:
        _sort(inner, used, put_off, eager)


def _inside(load: Load) -> Iterator[Load]:
    """Yield a load that is put off and everything that would then not be loaded either."""
    todo = [load]
    while todo:
        one = todo.pop()
        yield one
        todo.extend(inner for inner in one.inside if not _is_around(inner, load))


def _is_around(inner: Load, load: Load) -> bool:
    return load.name.startswith(f"{inner.name}.")


def _needed(eager: Iterable[str], within: Collection[str], put_off: Collection[str]) -> set[str]:
    """Return which of the modules `within` the eager ones stand on, directly or through others."""
    needed: set[str] = set()
    todo = list(eager)
    while todo:
        for name in _stands_on(todo.pop(), put_off):
            for around in _with_packages(name):
                if around in within and around not in needed:
                    needed.add(around)
                    todo.append(around)
    return needed


def _with_packages(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]


def _stands_on(name: str, put_off: Collection[str]) -> set[str]:
    """Return the modules that a module's values are, or were defined in.

    Those that are put off it would only hold, and what is inside a package is put there by whoever loads it.
    """
    namespace = _namespace(sys.modules.get(name))
    found: set[str] = set()
    for value in list(namespace.values()):
        if isinstance(value, ModuleType):
            held = _text(_namespace(value).get("__name__"))
            found.update(() if held in put_off else (held,))
        elif isinstance(value, type):
            found.update(_text(vars(base).get("__module__")) for base in type.mro(value))
        else:
            found.update((_defined_in(value), _text(vars(type(value)).get("__module__"))))
    return {one for one in found if one and not one.startswith(f"{name}.")}


def _namespace(module: object) -> dict[str, Any]:
    # Past what watches for a first use: this is none.
    return ModuleType.__getattribute__(module, "__dict__") if isinstance(module, ModuleType) else {}


def _defined_in(value: object) -> str:
    try:
        return _text(object.__getattribute__(value, "__module__"))
    except AttributeError:
        return ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
