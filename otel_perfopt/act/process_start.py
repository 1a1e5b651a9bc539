"""What must be in place before the agent's own imports: the snapshot that is there at the start in, imports put off out."""

from __future__ import annotations

import threading
from collections.abc import Callable

from otel_perfopt.act import lazy_import
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.lazy_import import LazyImport
from otel_perfopt.act.process_runtime import wanted_here
from otel_perfopt.act.selection import parse_effects
from otel_perfopt.act.snapshot_source import FileSource
from otel_perfopt.settings import AgentSettings

_lock = threading.Lock()
_early: tuple[LazyImport, Use] | None = None


def begin_early(settings: AgentSettings) -> Callable[[], None]:
    """Put imports off where a decision in `<home>/snapshot.json` says so; return what undoes it.

    Kill switches and the lease count as ever; who watches them from here on is the runtime that takes over
    at the first span. A snapshot that comes over HTTP comes too late for this.
    """
    global _early  # noqa: PLW0603 - one a process, taken over by its runtime
    in_force = FileSource(settings.home, parse_effects(settings.effects), killed=settings.killed).look_once()
    use = wanted_here(in_force).get(lazy_import.NAME)
    if use is None:
        return _nothing
    optimization = LazyImport()
    optimization.begin(use)
    with _lock:
        _early = optimization, use
    return optimization.end


def take_early() -> tuple[LazyImport, Use] | None:
    """Return what was begun at the start, once: whoever takes it ends it."""
    global _early
    with _lock:
        early, _early = _early, None
    return early


def _nothing() -> None:
    """Nothing was begun."""
