"""Functions named in configuration: `module:glob` in, those functions taken over when their module is there out."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import FunctionType, ModuleType
from typing import Any

from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.tools import plain

_GLOB = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class TargetName:
    """`module:function`, `module:Class.method` or with globs after the colon; commands also with `=/name`."""

    module: str
    pattern: str
    alias: str = ""

    @classmethod
    def parse(cls, text: str) -> TargetName | None:
        """Read one item of the configuration; None (and a counted fault) when it is none."""
        place, _, alias = text.partition("=")
        module, colon, pattern = place.strip().partition(":")
        if not (colon and module and pattern):
            fault("target name", ValueError(f"{text!r} is not module:function"))
            return None
        return cls(module, pattern, alias.strip())


@dataclass(frozen=True, slots=True)
class Target:
    """What a name stands for: where it hangs (`owner.attribute`) and the object found there."""

    name: TargetName
    owner: Any
    attribute: str
    value: Any

    def plain_function(self) -> FunctionType | None:
        """Return the plain function, also of a static or class method; None where it is something else."""
        return plain(getattr(self.value, "__func__", self.value))[0]


class Targets:
    """Applies `take` to everything that `names` stand for, as soon as it can be found, and once.

    Nothing is imported. `__main__`, and a module that is still being imported, are looked at again
    by `resolve`.
    """

    def __init__(self, names: tuple[str, ...], take: Callable[[Target], None]) -> None:
        self._names = [name for text in names if (name := TargetName.parse(text)) is not None]
        self._take = take
        self._done: set[int] = set()
        self._active = True

    def start(self) -> None:
        """Take what is loaded, and the rest when it is imported."""
        for module in {name.module for name in self._names}:
            loaded = sys.modules.get(module)
            if loaded is None:
                self._on_import(module)
            elif not _is_importing(loaded):
                self._apply(loaded, module)

    def resolve(self) -> None:
        """Look again at modules that were not complete before; never raises."""
        for module in {name.module for name in self._names}:
            loaded = sys.modules.get(module)
            if loaded is not None:
                self._apply(loaded, module)

    def stop(self) -> None:
        """Take nothing more."""
        self._active = False

    def _on_import(self, module: str) -> None:
        import wrapt  # noqa: PLC0415 - only where there is something to wait for

        def imported(loaded: Any) -> None:
            self._apply(loaded, module)

        wrapt.register_post_import_hook(imported, module)

    def _apply(self, loaded: ModuleType, module: str) -> None:
        if not self._active:
            return
        for name in self._names:
            if name.module != module:
                continue
            try:
                for target in list(found_in(loaded, name)):
                    if id(target.value) not in self._done:
                        self._done.add(id(target.value))
                        self._take(target)
            except Exception as error:
                # A post-import hook that raised would make the import fail.
                fault("target", error)


def found_in(module: ModuleType, name: TargetName) -> Iterator[Target]:
    """Yield what `name` stands for in a module; a glob stands only for functions written there."""
    owner: Any = module
    *classes, pattern = name.pattern.split(".")
    for part in classes:
        owner = vars(owner).get(part)
        if not inspect.isclass(owner):
            return
    members = vars(owner)
    if not _GLOB.intersection(pattern):
        if pattern in members:
            yield Target(name, owner, pattern, members[pattern])
        return
    for attribute, value in list(members.items()):
        hidden = attribute.startswith("_") and not pattern.startswith("_")
        if not hidden and fnmatchcase(attribute, pattern) and _written_in(module, value):
            yield Target(name, owner, attribute, value)


def _written_in(module: ModuleType, value: Any) -> bool:
    inner = getattr(value, "__func__", value)
    return isinstance(inner, FunctionType) and inner.__module__ == module.__name__


def _is_importing(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))
