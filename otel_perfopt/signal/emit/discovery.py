"""Tools nobody named: what a model call offers in, the functions behind the names taken over as tools out."""

from __future__ import annotations

import inspect
import site
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import FunctionType, ModuleType

from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.interception import Interception
from otel_perfopt.signal.emit.taken_over import take_tool
from otel_perfopt.signal.emit.tools import known_tool, plain

MAX_NAMES = 10_000
MAX_TABLE = 1000
SEARCH_LIMIT_S = 1.0

Found = tuple[FunctionType, "object | None"]

_lock = threading.Lock()
_seen: set[str] = set()
_before: list[Callable[[], None]] = []
_taken: Callable[[Interception], None] | None = None


def discover(taken: Callable[[Interception], None] | None) -> None:
    """Look for the functions behind the tools that model calls offer, and tell `taken` of each; None: do not look."""
    global _taken  # noqa: PLW0603 - one a process
    _taken = taken
    _seen.clear()


def after_fork() -> None:
    """Take a lock that is free: the parent may have held it."""
    global _lock  # noqa: PLW0603 - one a process
    _lock = threading.Lock()


def before_discovery(resolve: Callable[[], None]) -> None:
    """Have what was named explicitly resolved first, each time new names come up."""
    _before.append(resolve)


def stop() -> None:
    """Look for nothing more."""
    discover(None)
    _before.clear()


def tools_offered(names: tuple[str, ...]) -> None:
    """Take the tools that a model call offers into account: only names not met before cost anything; never raises.

    Threads that offer the same names meanwhile wait for the search (1 s at most), so that none of
    them calls a tool before it is known.
    """
    if _seen.issuperset(names or ("",)):
        return
    lock = _lock
    if not lock.acquire(timeout=SEARCH_LIMIT_S):
        return
    try:
        _search(names)
    except Exception as error:
        fault("tool discovery", error)
    finally:
        lock.release()


def _search(names: tuple[str, ...]) -> None:
    new = [name for name in names or ("",) if name not in _seen]
    if not new:
        return
    try:
        for resolve in _before:
            resolve()
        if _taken is not None:
            _take([name for name in new if name and known_tool(name) is None], _taken)
    finally:
        # Also after a fault, or each call would search again.
        if len(_seen) < MAX_NAMES:
            _seen.update(new)


def _take(names: list[str], taken: Callable[[Interception], None]) -> None:
    if not names:
        return
    for name, found in functions_named(names, user_modules()).items():
        for function, owner in found:
            interception = take_tool(function, name, owner=owner)
            if interception is not None:
                taken(interception)


def functions_named(names: list[str], modules: list[ModuleType]) -> dict[str, list[Found]]:
    """Return the functions behind tool names, by the surest sign there is of each.

    A table of a module (`TOOLS = {"search": search}`) says it outright; else module-level functions
    of that name, where they were written; else the only method of that name.
    """
    found: dict[str, list[Found]] = {}
    for name in names:
        hits = _unique(_in_tables(name, modules)) or _unique(_module_functions(name, modules))
        if not hits:
            methods = _unique(_methods(name, modules))
            hits = methods if len(methods) == 1 else []
        if hits:
            found[name] = hits
    return found


def user_modules() -> list[ModuleType]:
    """Return the loaded modules that are the user's: from a file outside the standard library and site-packages."""
    # Anything at all may stand in `sys.modules`.
    loaded: list[object] = list(sys.modules.values())
    return [module for module in loaded if isinstance(module, ModuleType) and _is_users(module)]


def _is_users(module: ModuleType) -> bool:
    name, file = module.__name__, getattr(module, "__file__", None)
    if name.partition(".")[0] in ("otel_perfopt", "opentelemetry"):
        return name.startswith("otel_perfopt.examples.")
    if file is None:
        return name == "__main__"
    return _is_users_file(file)


@lru_cache(maxsize=4096)
def _is_users_file(file: str) -> bool:
    path = str(Path(file).resolve())
    return not any(path.startswith(folder) for folder in _library_folders())


@lru_cache(maxsize=1)
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.update(getattr(site, "getsitepackages", list)())
    folders.add(site.getusersitepackages())
    return tuple(f"{Path(folder).resolve()}/" for folder in folders)


def _in_tables(name: str, modules: list[ModuleType]) -> Iterator[Found]:
    for module in modules:
        for value in list(vars(module).values()):
            if isinstance(value, dict) and len(value) <= MAX_TABLE and name in value:
                function, owner = plain(value[name])
                if function is not None and _is_users_function(function):
                    yield function, owner


def _module_functions(name: str, modules: list[ModuleType]) -> Iterator[Found]:
    for module in modules:
        function = vars(module).get(name)
        if isinstance(function, FunctionType) and function.__module__ == module.__name__:
            yield function, None


def _methods(name: str, modules: list[ModuleType]) -> Iterator[Found]:
    for module in modules:
        for value in list(vars(module).values()):
            if inspect.isclass(value) and value.__module__ == module.__name__:
                function = vars(value).get(name)
                if isinstance(function, FunctionType):
                    yield function, None


def _is_users_function(function: FunctionType) -> bool:
    module = sys.modules.get(function.__module__ or "")
    return module is not None and _is_users(module)


def _unique(found: Iterator[Found]) -> list[Found]:
    return list({id(function): (function, owner) for function, owner in found}.values())
