"""The latest runs: every run that is read in, the newest few hundred to look at out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from otel_perfopt.execution.model import Execution
from otel_perfopt.execution.source import ExecutionSource
from otel_perfopt.signal.source import ReadTally

MOST_RUNS = 400


class RunShelf:
    """Keeps the newest finished runs by when they began; safe to fill and read from several threads."""

    def __init__(self, most: int = MOST_RUNS) -> None:
        self._most = most
        self._runs: dict[str, Execution] = {}
        self._lock = threading.Lock()

    def add(self, run: Execution) -> None:
        """Keep a run, where it is newer than the oldest that is kept."""
        if not run.finished:
            return
        with self._lock:
            self._runs[run.command.span_id] = run
            # In pieces, so that sorting is rare.
            if len(self._runs) > 2 * self._most:
                self._runs = {one.command.span_id: one for one in self._newest()}

    def newest(self) -> tuple[Execution, ...]:
        """Return what is kept, newest first."""
        with self._lock:
            return tuple(self._newest())

    def find(self, trace_id: str, span_id: str = "") -> Execution | None:
        """Return the run of a trace (and of a span in it), where it is kept."""
        found = [run for run in self.newest() if run.trace_id == trace_id]
        of_span = (run for run in found if any(step.span_id == span_id for step in (run.command, *run.steps)))
        return next(of_span, found[0] if found else None)

    def _newest(self) -> list[Execution]:
        ordered = sorted(self._runs.values(), key=lambda run: (run.command.start_ns, run.command.span_id), reverse=True)
        return ordered[: self._most]


class Watched:
    """An `ExecutionSource` that hands every run on and shows it to somebody on the way."""

    def __init__(self, inner: ExecutionSource, show: Callable[[Execution], None]) -> None:
        self._inner = inner
        self._show = show

    @property
    def tally(self) -> ReadTally:
        """What has been read so far, and what could not be."""
        return self._inner.tally

    def executions(self) -> Iterator[Execution]:
        """Yield every run once."""
        for run in self._inner.executions():
            self._show(run)
            yield run
