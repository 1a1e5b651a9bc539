"""What must be in place before the agent's own imports: the snapshot that is there at the start in, what was begun out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final

from otel_perfopt.act import gc_tuning, lazy_import
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.gc_tuning import GcTuning
from otel_perfopt.act.lazy_import import LazyImport
from otel_perfopt.act.process import ProcessOptimization
from otel_perfopt.act.process_runtime import wanted_here
from otel_perfopt.act.selection import parse_effects
from otel_perfopt.act.snapshot_source import FileSource
from otel_perfopt.settings import AgentSettings

# Imports are put off before they are made, and the collector is set before they fill the heap and a server forks.
_EARLY: Final[Mapping[str, Callable[[], ProcessOptimization]]] = {
    lazy_import.NAME: LazyImport,
    gc_tuning.NAME: GcTuning,
}
Begun = Mapping[str, tuple[ProcessOptimization, Use]]

_lock = threading.Lock()
_early: Begun = {}


def begin_early(settings: AgentSettings) -> Callable[[], None]:
    """Begin what a decision in `<home>/snapshot.json` wants from the start; return what undoes it.

    Kill switches and the lease count as ever; who watches them from here on is the runtime that takes over
    at the first span. A snapshot that comes over HTTP comes too late for this.
    """
    global _early  # noqa: PLW0603 - one a process, taken over by its runtime
    in_force = FileSource(settings.home, parse_effects(settings.effects), killed=settings.killed).look_once()
    begun: dict[str, tuple[ProcessOptimization, Use]] = {}
    for name, use in wanted_here(in_force).items():
        if name in _EARLY:
            begun[name] = _EARLY[name](), use
            begun[name][0].begin(use)
    with _lock:
        _early = begun

    def end() -> None:
        for optimization, _ in begun.values():
            optimization.end()

    return end


def take_early() -> Begun:
    """Return what was begun at the start, by optimization, once: whoever takes it ends it."""
    global _early
    with _lock:
        early, _early = _early, {}
    return early
