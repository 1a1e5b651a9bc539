"""What must be in place before the agent's own imports: the snapshot that is there at the start in, imports put off out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_perfopt.act.enrolment import Use
    from otel_perfopt.act.lazy_import import LazyImport
    from otel_perfopt.settings import AgentSettings

_MARK = b'"lazy_import"'
_MOST_BYTES = 4 << 20
_lock = threading.Lock()
_early: tuple[LazyImport, Use] | None = None


def begin_early(settings: AgentSettings) -> Callable[[], None]:
    """Put imports off where a decision in `<home>/snapshot.json` says so; return what undoes it.

    Reads one file, and where it does not speak of imports nothing more is loaded. A snapshot that comes over
    HTTP comes too late for this, unless its last state is kept in the home folder too.
    """
    global _early  # noqa: PLW0603 - one a process, taken over by its runtime
    if settings.killed or not _speaks_of_imports(settings):
        return _nothing
    from otel_perfopt.act.process_runtime import wanted_here  # noqa: PLC0415 - only where a decision asks for it
    from otel_perfopt.act.selection import parse_effects  # noqa: PLC0415
    from otel_perfopt.act.snapshot_source import FileSource  # noqa: PLC0415

    in_force = FileSource(settings.home, parse_effects(settings.effects)).look_once()
    use = wanted_here(in_force).get("lazy_import")
    if use is None:
        return _nothing
    from otel_perfopt.act.lazy_import import LazyImport  # noqa: PLC0415

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


def _speaks_of_imports(settings: AgentSettings) -> bool:
    try:
        with (settings.home / "snapshot.json").open("rb") as file:
            return _MARK in file.read(_MOST_BYTES)
    except OSError:
        return False


def _nothing() -> None:
    """Nothing was begun."""
