"""A process's start as one run: what is loaded before the first command in, a span of the whole with its loads out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from opentelemetry.context import Context
from opentelemetry.trace import Span

from otel_perfopt import conventions as c
from otel_perfopt.signal.emit import tracing
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.import_graph import spare
from otel_perfopt.signal.emit.module_load import Load

MAX_USES = 1000
Emit = Callable[[Load, Context | None], None]


class ModuleStart:
    """Collects what is loaded before the first command, and hears when modules that could have waited are first used.

    The start is a load of `__main__`, from when the interpreter began (by its CPU time) to the first
    command. A module first used later makes a span of no length where it is used, with the start's trace.
    """

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, cpu_ns: Callable[[], int] = time.process_time_ns
    ) -> None:
        self._wall_ns = wall_ns
        self._began_ns = wall_ns() - cpu_ns()
        self._ended_ns = 0
        self._loads: list[Load] = []
        self._uses: dict[str, set[tuple[str, ...]]] = {}
        self._span: Span | None = None
        self._put_off: frozenset[str] | None = None
        self._telling = threading.Lock()
        self.running = True

    def add(self, load: Load) -> None:
        """Take an outermost load into account."""
        self._loads.append(load)

    def over(self) -> bool:
        """End the start; False where it had ended before, or nothing was loaded."""
        with self._telling:
            if not self.running:
                return False
            self._ended_ns = self._wall_ns()
            self.running = False
            if not self._loads:
                return False
            taken_ns = sum(load.ended_ns - load.began_ns for load in self._loads)
            attributes = {
                c.STEP_KIND: c.STEP_MODULE_LOAD,
                c.MODULE_NAME: c.MODULE_MAIN,
                c.MODULE_SELF_TIME: max(0, self._ended_ns - self._began_ns - taken_ns) / 1e9,
            }
            self._span = tracing.start_span(f"load {c.MODULE_MAIN}", attributes, Context(), self._began_ns)
            return True

    def used(self, name: str, loading: tuple[str, ...]) -> None:
        """Hear that a module is used, by the innermost of the modules being loaded here; never raises."""
        try:
            if not self.running:
                self._tell_use(name)
            elif len(self._uses.setdefault(name, set())) < MAX_USES:
                self._uses[name].add(loading)
        except Exception as error:
            fault("module use", error)

    def tell(self, emit: Emit) -> None:
        """Make the start's spans, once."""
        self.over()
        with self._telling:
            loads, self._loads = self._loads, []
            span = self._span
            if not loads or span is None:
                return
            self._put_off = frozenset(spare(loads, self._uses))
            inside = tracing.context_with(span, Context())
            for load in loads:
                emit(load, inside)
            tracing.end_span(span, None, self._ended_ns)

    def after_fork(self) -> None:
        """A child has no start of its own."""
        self._telling = threading.Lock()
        self._loads = []
        self.running = False

    def _tell_use(self, name: str) -> None:
        now_ns, span = self._wall_ns(), self._span
        if span is None or (self._put_off is not None and name not in self._put_off):
            return  # nothing was loaded at the start, or the module is loaded there anyway
        attributes = {
            c.STEP_KIND: c.STEP_OTHER,
            c.MODULE_NAME: name,
            c.MODULE_USED_AFTER: max(0, now_ns - self._ended_ns) / 1e9,
            c.MODULE_START: format(span.get_span_context().trace_id, "032x"),
        }
        # Outside any command it belongs to the start.
        context = None if tracing.in_span() else tracing.context_with(span, Context())
        tracing.end_span(tracing.start_span(f"use {name}", attributes, context, now_ns), None, now_ns)
