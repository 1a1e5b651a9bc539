"""What `lazy_import` could do, while it does nothing: imports in, whether they could wait and when they are first used out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from otel_perfopt.act.import_site import importing_frame, may_wait
from otel_perfopt.act.lazy_import import is_denied, may_put_off
from otel_perfopt.act.lazy_module import KNOWN
from otel_perfopt.signal.emit import module_loads
from otel_perfopt.signal.emit.faults import fault

Used = Callable[[str], object]
_watched: dict[str, Used] = {}


class WatchedModule(ModuleType):
    """A module that tells once when it is used, by what a `LazyModule` would be woken by; afterwards an ordinary one."""

    def __getattribute__(self, name: str) -> Any:
        if name not in KNOWN:
            _tell(self)
        return ModuleType.__getattribute__(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name not in KNOWN:
            _tell(self)
        ModuleType.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        _tell(self)
        ModuleType.__delattr__(self, name)


class ImportWatch:
    """Says of imports what `LazyFinder` would say, and watches for first uses; `stop` leaves nothing behind."""

    def asked(self, name: str) -> tuple[str, bool]:
        """Return which module's import statement is loading `name` now, and whether that load could wait."""
        frame = importing_frame(2, module_loads.__file__)
        if frame is None:
            return "", False
        importer = frame.f_globals.get("__name__")
        waits = not is_denied(name) and may_wait(frame, name) and may_put_off(_spec(name))
        return importer if isinstance(importer, str) else "", waits

    def watch(self, name: str, used: Used) -> None:
        """Call `used` with the module's name when something of it is used for the first time."""
        module = sys.modules.get(name)
        if type(module) is ModuleType:
            _watched[name] = used
            ModuleType.__setattr__(module, "__class__", WatchedModule)

    def stop(self) -> None:
        """Make ordinary modules of all that nobody has used."""
        for name in list(_watched):
            _watched.pop(name, None)
            module = sys.modules.get(name)
            if type(module) is WatchedModule:
                ModuleType.__setattr__(module, "__class__", ModuleType)


def _spec(name: str) -> Any:
    module = sys.modules.get(name)
    return ModuleType.__getattribute__(module, "__dict__").get("__spec__") if isinstance(module, ModuleType) else None


def _tell(module: ModuleType) -> None:
    try:
        ModuleType.__setattr__(module, "__class__", ModuleType)
        name = ModuleType.__getattribute__(module, "__dict__").get("__name__", "")
        used = _watched.pop(name, None)
        if used is not None:
            used(name)
    except Exception as error:
        fault("import watch", error)
