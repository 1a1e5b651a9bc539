"""Imports that take long: every import that is not answered from `sys.modules` in, a span with its own time out.

Off unless asked for (`PERFOPT_MODULE_LOADS=1`, `instrument(module_loads=True)`): a program's start makes
a span for each module that takes a millisecond. The import system's one entry for modules not loaded
yet is timed; finders, loaders and specs stay as they are.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context

from otel_perfopt import conventions as c
from otel_perfopt.signal.emit import tracing
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.module_load import ImportWatch, Load, NoWatch
from otel_perfopt.signal.emit.module_start import ModuleStart

THRESHOLD_NS = 1_000_000
MAX_LOADS = 2000
_BOOTSTRAP, _ENTRY = "_frozen_importlib", "_find_and_load"
_OWN = ("otel_perfopt",)


class ModuleLoads:
    """Times loads on every thread; keeps 2000 of a process, each at least 1 ms, until they can be made spans.

    With a `start`, what is loaded before the first command is told as one run of its own; `watch` says of
    each load who asked for it and whether it could have waited.
    """

    def __init__(
        self,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        threshold_ns: int = THRESHOLD_NS,
        *,
        watch: ImportWatch | None = None,
        start: ModuleStart | None = None,
    ) -> None:
        self._clock_ns = clock_ns
        self._threshold_ns = threshold_ns
        self._watch: ImportWatch = watch or NoWatch()
        self._start = start
        self._here = threading.local()
        self._waiting: list[Load] = []
        self._kept = 0
        self.dropped = 0
        # From the clock that measures to the one that dates.
        self._epoch_ns = time.time_ns() - clock_ns()

    def begin(self, name: str) -> Load | None:
        """Start the clock for a module; never raises."""
        try:
            stack = self._stack()
            context = None if stack else context_api.get_current()
            load = Load(name, self._clock_ns(), context)
            stack.append(load)
        except Exception as error:
            fault("module load", error)
            return None
        return load

    def end(self, load: Load | None) -> None:
        """Stop it; the outermost load makes the spans, where spans can be made by now; never raises."""
        if load is None:
            return
        try:
            load.ended_ns = self._clock_ns()
            stack = self._stack()
            while stack and stack.pop() is not load:
                pass  # left behind by a begin whose end never came
            self._listen_again(load)
            self._keep(load, stack[-1] if stack else None)
            if not stack and self._waiting and tracing.prepared():
                self.flush()
        except Exception as error:
            fault("module load", error)

    def flush(self) -> None:
        """Make spans of what waits for them; never raises."""
        waiting, self._waiting = self._waiting, []
        for load in waiting:
            self.emit(load, load.context)

    def started(self) -> None:
        """Tell of the start, which is over: from a thread of its own, since there are many spans to make.

        A program that ends before that is waited for, a fraction of a second at most.
        """
        if self._start is not None and self._start.over():
            threading.Thread(target=self.tell_start, name="perfopt-module-loads", daemon=False).start()

    def tell_start(self) -> None:
        """Make spans of everything that was loaded before the first command; once, and never raises."""
        try:
            if self._start is not None:
                self._start.tell(self.emit)
        except Exception as error:
            fault("module load", error)

    def after_fork(self) -> None:
        """The start was the parent's, and so is what it had not told yet."""
        self._here = threading.local()
        self._waiting = []
        if self._start is not None:
            self._start.after_fork()

    def _keep(self, load: Load, outer: Load | None) -> None:
        took_ns = load.ended_ns - load.began_ns
        if outer is not None:
            outer.inside_ns += took_ns
        # What this package loads for itself is taken out of everybody's time, and shown nowhere.
        if load.name.startswith(_OWN) or tracing.preparing():
            return
        starting = self._start is not None and self._start.running
        if took_ns < self._threshold_ns:
            # What takes no time of its own may still be what others stand on.
            if starting and outer is not None:
                outer.inside.append(load)
            return
        if self._kept >= MAX_LOADS:
            self.dropped += 1
            return
        self._kept += 1
        load.shown = True
        if starting:
            self._describe(load)
        if outer is not None:
            outer.inside.append(load)
        elif starting and self._start is not None and not _in_span(load.context):
            self._start.add(load)
        else:
            self._waiting.append(load)

    def _describe(self, load: Load) -> None:
        load.importer, load.may_wait = self._watch.asked(load.name)
        if load.may_wait and self._start is not None:
            self._watch.watch(load.name, self._used)

    def _used(self, name: str) -> None:
        """Hear that a module is used; during the start it is listened to again, since whoever uses it may be put off too."""
        if self._start is None:
            return
        stack = self._stack()
        self._start.used(name, tuple(load.name for load in stack))
        if stack:
            stack[-1].uses.append(name)

    def _listen_again(self, load: Load) -> None:
        if load.uses and self._start is not None and self._start.running:
            for name in load.uses:
                self._watch.watch(name, self._used)

    def emit(self, load: Load, context: Context | None) -> None:
        """Make a span of a load and of each inside it that is worth one."""
        attributes: dict[str, Any] = {
            c.STEP_KIND: c.STEP_MODULE_LOAD,
            c.MODULE_NAME: load.name,
            c.MODULE_SELF_TIME: load.self_ns / 1e9,
        }
        if load.importer:
            attributes[c.MODULE_IMPORTER] = load.importer
        if load.spared_ns:
            attributes[c.MODULE_SPARED_TIME] = load.spared_ns / 1e9
        began_ns = load.began_ns + self._epoch_ns
        span = tracing.start_span(f"load {load.name}", attributes, context, began_ns)
        for inner in load.inside:
            if inner.shown:
                self.emit(inner, tracing.context_with(span, context))
        tracing.end_span(span, None, load.ended_ns + self._epoch_ns)

    def _stack(self) -> list[Load]:
        stack: list[Load] | None = getattr(self._here, "stack", None)
        if stack is None:
            stack = self._here.stack = []
        return stack


def watch_loads(loads: ModuleLoads) -> Callable[[], None]:
    """Time every load by `loads` from now on; returns what ends that."""
    bootstrap: Any = sys.modules[_BOOTSTRAP]
    before = getattr(bootstrap, _ENTRY)
    timed = _timed(before, loads)
    setattr(bootstrap, _ENTRY, timed)

    def undo() -> None:
        if getattr(bootstrap, _ENTRY) is timed:
            setattr(bootstrap, _ENTRY, before)
        loads.tell_start()
        loads.flush()

    return undo


def _timed(find_and_load: Callable[..., Any], loads: ModuleLoads) -> Callable[..., Any]:
    begin, end = loads.begin, loads.end

    def _find_and_load(name: str, import_: Any) -> Any:
        load = begin(name)
        try:
            return find_and_load(name, import_)
        finally:
            end(load)

    # Said to be written where the import system's own frames are, so that tracebacks and warnings leave it out as those.
    written = getattr(getattr(find_and_load, "__code__", None), "co_filename", "<frozen importlib._bootstrap>")
    _find_and_load.__code__ = _find_and_load.__code__.replace(co_filename=written)
    return _find_and_load


def _in_span(context: Context | None) -> bool:
    return trace.get_current_span(context).get_span_context().is_valid
