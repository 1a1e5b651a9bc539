"""A module that runs its code when it is first used: a loader in, a module that stands in for itself out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import _bootstrap
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from threading import get_ident
from types import ModuleType
from typing import Any, Final

# What the import system and those who look over all modules ask for: known without running anything.
KNOWN: Final = frozenset(
    {"__class__", "__spec__", "__name__", "__loader__", "__package__", "__file__", "__cached__", "__warningregistry__"}
)

# The lock that imports of a module hold, and what they do where two threads wait for each other's: under no public name.
_import_system: Any = _bootstrap

Told = Callable[[str, BaseException | None], object]


class LazyModule(ModuleType):
    """As `importlib.util.LazyLoader` makes them, but safe on every version and not woken by a second import.

    The import system asks a module for `__spec__` whenever it is imported again; the standard library's
    lazy module loads at that, before 3.13 with a race between threads. Here that is answered without
    loading, and loading holds the import system's own lock of the module, deadlock detection included.
    """

    def __getattribute__(self, name: str) -> Any:
        if name in KNOWN:
            return ModuleType.__getattribute__(self, name)
        return _value(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name not in KNOWN:
            _ready(self)
        ModuleType.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        _ready(self)
        ModuleType.__delattr__(self, name)


class LazyModuleLoader(Loader):
    """Puts a module off: what `loader` would do now it does at the module's first use.

    `told` hears the module's name when it is loaded, with the exception where its code raised one. That
    exception reaches whoever used the module first, and again whoever uses it next, as importing it again would.
    """

    def __init__(self, loader: Loader, told: Told) -> None:
        self._loader = loader
        self._told = told

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let the loader make the module as it would."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Make the module one that waits; whoever asks for its loader gets the real one."""
        spec = module.__spec__
        if spec is None or type(module) is not ModuleType:
            self._loader.exec_module(module)
            return
        spec.loader = module.__loader__ = self._loader
        spec.loader_state = _Waiting(self._loader, spec, dict(module.__dict__), self._told)
        module.__class__ = LazyModule


class _Waiting:
    """What there is to do before a module can be used."""

    __slots__ = ("_before", "_loader", "_spec", "_told", "loading", "replacement")

    def __init__(self, loader: Loader, spec: ModuleSpec, before: dict[str, Any], told: Told) -> None:
        self._loader = loader
        self._spec = spec
        self._before = before
        self._told = told
        self.loading: int | None = None
        self.replacement: ModuleType | None = None

    def load(self, module: ModuleType) -> None:
        """Run the module's code, once, whichever thread comes first."""
        try:
            with _import_system._ModuleLockManager(self._spec.name):  # noqa: SLF001
                if type(module) is LazyModule and self.loading is None and self.replacement is None:
                    self._run(module)
        except _import_system._DeadlockError:  # noqa: SLF001
            # Two threads wait for each other's modules: as with imports, one sees what there is so far.
            return

    def _run(self, module: ModuleType) -> None:
        initializing = self._spec._initializing  # type: ignore[attr-defined]  # noqa: SLF001 - others wait while it is set
        self.loading = get_ident()
        self._spec._initializing = True  # type: ignore[attr-defined]  # noqa: SLF001
        try:
            self._loader.exec_module(module)
        except BaseException as error:
            namespace = ModuleType.__getattribute__(module, "__dict__")
            namespace.clear()
            namespace.update(self._before)
            self._told(self._spec.name, error)
            raise
        finally:
            self.loading = None
            self._spec._initializing = initializing  # type: ignore[attr-defined]  # noqa: SLF001
        self._finish(module)

    def _finish(self, module: ModuleType) -> None:
        found = sys.modules.get(self._spec.name)
        if found is not None and found is not module:
            # The module put something else in its own place; whoever holds this one is led there.
            self.replacement = found
        elif type(module) is LazyModule:
            ModuleType.__setattr__(module, "__class__", ModuleType)
            self._spec.loader_state = None
        self._told(self._spec.name, None)


def _ready(module: ModuleType) -> ModuleType:
    """Load a module unless this very thread is doing so; return what answers for it."""
    spec = ModuleType.__getattribute__(module, "__spec__")
    waiting = getattr(spec, "loader_state", None)
    if not isinstance(waiting, _Waiting):
        return module
    if waiting.loading != get_ident() and waiting.replacement is None:
        waiting.load(module)
    return module if waiting.replacement is None else waiting.replacement


def _value(module: ModuleType, name: str) -> Any:
    found = _ready(module)
    return ModuleType.__getattribute__(module, name) if found is module else getattr(found, name)


def is_waiting(module: object) -> bool:
    """Tell whether a module's code has not run yet."""
    return type(module) is LazyModule and not _replaced(module)


def _replaced(module: ModuleType) -> bool:
    waiting = getattr(ModuleType.__getattribute__(module, "__spec__"), "loader_state", None)
    return isinstance(waiting, _Waiting) and waiting.replacement is not None


def waiting_modules(names: Sequence[str]) -> list[str]:
    """Return those of the named modules that wait to be loaded."""
    return [name for name in names if is_waiting(sys.modules.get(name))]
