"""Modules loaded when they are first used: a policy's globs in, imports that wait out; its undo lets none wait any more."""

from __future__ import annotations

import importlib
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader, SourcelessFileLoader
from types import ModuleType
from typing import Final

from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.import_site import importing_frame, may_wait
from otel_perfopt.act.lazy_module import LazyModuleLoader, is_waiting
from otel_perfopt.act.parameters.lazy_import import LazyImportParameters
from otel_perfopt.act.process_unit import THIS_PROCESS
from otel_perfopt.signal.emit.faults import fault

NAME: Final = "lazy_import"
# Never put off: what changes other modules when it is loaded, what others look for in `sys.modules`, and ourselves.
DENIED: Final = frozenset(
    {
        "_distutils_hack",
        "_pytest",
        "anyio",
        "apipkg",
        "beartype",
        "certifi_win32",
        "colorama",
        "coverage",
        "datadog",
        "ddtrace",
        "dotenv",
        "elasticapm",
        "eventlet",
        "future",
        "gevent",
        "greenlet",
        "jaxtyping",
        "lazy_loader",
        "nest_asyncio",
        "newrelic",
        "opentelemetry",
        "otel_perfopt",
        "past",
        "pip_system_certs",
        "pkg_resources",
        "pytest",
        "sentry_sdk",
        "setuptools",
        "sitecustomize",
        "six",
        "trio",
        "truststore",
        "typeguard",
        "usercustomize",
        "uvloop",
        "wrapt",
    }
)
MAX_REMEMBERED: Final = 10_000
_PLAIN_LOADERS: Final = (SourceFileLoader, SourcelessFileLoader)


class LazyImport:
    """Puts the named modules off where that cannot be noticed, and loads others ahead in the background.

    What may be put off is decided import by import (`may_wait`), beside the policy's globs: nothing of the
    standard library, nothing of `DENIED`, only modules written in Python and found by the ordinary
    finders. An error of a module's code reaches whoever uses the module first; a module that is not
    there fails at its import as ever. At the end everything that still waits stays as it is, one use away
    from being loaded, and no further import waits.
    """

    name = NAME

    def __init__(self) -> None:
        self._finder: LazyFinder | None = None
        self._ahead: Ahead | None = None
        self.counts: Counter[str] = Counter()

    def begin(self, use: Use) -> None:
        """Put imports off from now on."""
        if self._finder is not None:
            return
        parameters = use.rule.parameters
        assert isinstance(parameters, LazyImportParameters)
        self._finder = LazyFinder(parameters, self.counts, shadow=use.shadow)
        sys.meta_path.insert(0, self._finder)
        if not use.shadow:
            THIS_PROCESS.pin()
            if parameters.prefetch:
                self._ahead = Ahead(parameters.prefetch, parameters.prefetch_after_s, self.counts)
                self._ahead.start()

    def end(self) -> None:
        """Let no further import wait."""
        finder, self._finder = self._finder, None
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.stop()
        if finder is not None:
            finder.closed = True
            # Another list with the same finders, or without this one, is the host's own doing.
            if finder in sys.meta_path:
                sys.meta_path.remove(finder)

    def tick(self, quiet_s: float) -> None:
        """Nothing goes on by itself."""

    def facts(self) -> Mapping[str, int]:
        """Return how many imports were put off, how many of those loaded since or failed, and how many loaded ahead."""
        return dict(self.counts)

    def after_fork(self) -> None:
        """The parent's thread does not exist here; what it had not loaded yet is loaded when it is used."""
        self._ahead = None
        if self._finder is not None:
            self._finder.after_fork()


class LazyFinder(MetaPathFinder):
    """Stands first among the finders and puts off what the next ones find."""

    def __init__(self, parameters: LazyImportParameters, counts: Counter[str], *, shadow: bool) -> None:
        self._parameters = parameters
        self._counts = counts
        self._shadow = shadow
        self._meant: dict[str, bool] = {}
        self._here = threading.local()
        self.closed = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec that waits, or None to leave the module to the next finders; never raises of its own."""
        if self.closed or not self._is_meant(fullname) or getattr(self._here, "looking", False):
            return None
        try:
            frame = importing_frame(2)
            if target is not None or frame is None or not may_wait(frame, fullname):
                return None
        except Exception as error:
            fault("act lazy_import", error)
            return None
        return self._put_off(fullname, path)

    def after_fork(self) -> None:
        """Forget what the parent's threads were looking for."""
        self._here = threading.local()

    def _put_off(self, fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
        self._here.looking = True
        try:
            spec = _found_by_others(self, fullname, path)
        finally:
            self._here.looking = False
        if spec is None or not may_put_off(spec):
            return spec
        self._counts["deferred"] += 1
        if not self._shadow and spec.loader is not None:
            spec.loader = LazyModuleLoader(spec.loader, self._told)
        return spec

    def _told(self, name: str, error: BaseException | None) -> None:  # noqa: ARG002 - counted, not named
        self._counts["loaded" if error is None else "load_errors"] += 1

    def _is_meant(self, name: str) -> bool:
        known = self._meant.get(name)
        if known is None:
            if len(self._meant) >= MAX_REMEMBERED:
                self._meant.clear()
            known = self._meant[name] = not is_denied(name) and self._named(name)
        return known

    def _named(self, name: str) -> bool:
        given = self._parameters
        return any(fnmatchcase(name, glob) for glob in given.modules) and not any(
            fnmatchcase(name, glob) for glob in given.exclude
        )


class Ahead:
    """Loads modules in a thread of its own, one after the other, until it is told to stop."""

    def __init__(self, names: Sequence[str], after_s: float, counts: Counter[str]) -> None:
        self._names = [name for name in names if not is_denied(name, whole_library=False)]
        self._after_s = after_s
        self._counts = counts
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin, in a while."""
        threading.Thread(target=self._run, name="perfopt-prefetch", daemon=True).start()

    def stop(self) -> None:
        """Load nothing more; the module being loaded is finished, since half of one would harm."""
        self._stopped.set()

    def _run(self) -> None:
        if self._stopped.wait(self._after_s):
            return
        for name in self._names:
            if self._stopped.is_set():
                return
            self._load(name)

    def _load(self, name: str) -> None:
        try:
            known = sys.modules.get(name)
            if known is None or is_waiting(known):
                vars(importlib.import_module(name))
                self._counts["prefetched"] += 1
        except BaseException as error:  # an import runs the module's code, which may raise anything
            self._counts["prefetch_errors"] += 1
            fault("act prefetch", error)


def is_denied(name: str, *, whole_library: bool = True) -> bool:
    """Tell whether a module must load when it is imported; without `whole_library` the standard library may be named."""
    top = name.partition(".")[0]
    return top in DENIED or name in DENIED or (whole_library and top in sys.stdlib_module_names)


def may_put_off(spec: ModuleSpec | None) -> bool:
    """Tell whether a module is written in Python and loaded in the ordinary way."""
    return spec is not None and type(spec.loader) in _PLAIN_LOADERS


def _found_by_others(own: MetaPathFinder, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    finders = list(sys.meta_path)
    # Those before this one were asked already.
    after = finders[finders.index(own) + 1 :] if own in finders else finders
    for finder in after:
        find = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find(name, path, None) if find is not None else None
        if spec is not None:
            return spec
    return None
