"""Spans to be ended and spans that have ended in; one thread describes, ends and counts them off the request path."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import get_ident
from time import (
    monotonic,
    perf_counter_ns,
    sleep,
    thread_time_ns,
)  # as they are now: a host's test may replace the module's
from typing import TYPE_CHECKING, Any, Final, Protocol

from opentelemetry.trace import Span

from otel_perfopt.signal.emit.faults import fault

if TYPE_CHECKING:  # marking functions must not load the SDK
    from opentelemetry.sdk.trace import ReadableSpan

QUEUE_LIMIT: Final = 8192
LARGE_LIMIT: Final = 64
LINGER_S: Final = 0.05
TURN_NS: Final = 200_000

# Sets what is costly to find out on a span that is about to end.
Describe = Callable[[Span], None]


class SpanObserver(Protocol):
    """Who counts spans; called on the finishing thread only, in the order the spans ended in."""

    def ending(self, span: Span, end_ns: int) -> None:
        """One of our spans is about to end and can still be given attributes."""
        ...

    def ended(self, span: ReadableSpan, run_span_id: int) -> None:
        """A span of any instrumentation has ended, in the run whose command has that span id (0: not known)."""
        ...


class Finisher:
    """One bounded queue and one daemon thread, started with the first span; first in, first out.

    What finds no room is refused (`end`) or counted (`dropped`). A span keeps the end time it was given. The
    thread waits `LINGER_S` before it works, so that it does not compete with whoever gave the span,
    and lets others go first every 0.2 ms; with an
    eighth of the queue full it does neither. A forked child begins with an empty queue: what the
    parent had in it is the parent's.
    """

    def __init__(self, limit: int = QUEUE_LIMIT, linger_s: float = LINGER_S) -> None:
        self.observer: SpanObserver | None = None
        # Set where somebody exports each span as it ends: they get each at once, in the order of ends.
        self.at_once = False
        # Called by the thread, after each batch and for each flush.
        self.after_batch: Callable[[], None] | None = None
        self.on_flush: Callable[[], None] | None = None
        self.dropped = 0
        self.undescribed = 0
        self.spent_ns = 0  # CPU time of the thread
        self._limit = limit
        self._busy = limit // 8
        self._linger_s = linger_s
        self.after_fork()
        if hasattr(os, "register_at_fork"):
            here = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _renew(here))

    def after_fork(self) -> None:
        """Begin anew, without a thread."""
        self._ending_on = 0
        self._ending_run = 0
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._working = threading.RLock()
        self._hurry = threading.Event()
        # Taking from and giving to a deque is atomic: no lock that a signal handler could find held.
        self._large: deque[None] = deque([None] * LARGE_LIMIT)

    def has_room(self) -> bool:
        """Tell whether a span would be taken now."""
        if self._thread is None and not self._start():
            return False
        waiting = self._queue.qsize()
        if waiting < self._busy:
            return True
        if not self._hurry.is_set():
            self._hurry.set()
        return waiting < self._limit

    def reserve_large(self) -> bool:
        """Take one of the few places for spans with much to describe; `release_large` gives it back."""
        try:
            self._large.pop()
        except IndexError:
            return False
        return True

    def release_large(self) -> None:
        """Give a place back."""
        self._large.append(None)

    def end(self, span: Span, end_ns: int, describe: Describe | None = None, run_span_id: int = 0) -> bool:
        """End `span` as of `end_ns` soon, after `describe`; False when there is no room, and nothing was done."""
        if not self.has_room():
            return False
        self._queue.put((span, end_ns, describe, run_span_id))
        return True

    def ended(self, span: ReadableSpan, run_span_id: int) -> None:
        """Have a span counted that has ended already; what finds no room is dropped."""
        observer = self.observer
        if observer is None:
            return
        if self._ending_on and get_ident() == self._ending_on:
            # One of our own, which this very thread is ending.
            observer.ended(span, self._ending_run or run_span_id)
        elif self.has_room():
            self._queue.put((span, run_span_id))
        else:
            self.dropped += 1

    def flush(self, limit_s: float) -> bool:
        """Have everything given until now ended, in bounded time; False when that did not happen."""
        thread = self._thread
        if thread is threading.current_thread():
            return False
        if thread is None or not thread.is_alive():
            return self._drain_here(limit_s)
        mark = threading.Event()
        self._queue.put(mark)
        self._hurry.set()
        return mark.wait(limit_s)

    def stop(self, limit_s: float) -> None:
        """Flush, and end the thread; a later span starts another."""
        self.flush(limit_s)
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            self._hurry.set()
            thread.join(limit_s)

    def _start(self) -> bool:
        if not self._starting.acquire(blocking=False):
            return True  # another thread is at it
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, args=(self._queue,), name="otel-perfopt-spans", daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError as error:  # the interpreter is going down
            fault("span thread", error)
            return False
        finally:
            self._starting.release()
        return True

    def _run(self, queue: SimpleQueue[Any]) -> None:
        while True:
            item = queue.get()
            if item is not None and not isinstance(item, threading.Event):
                self._hurry.wait(self._linger_s)
            self._hurry.clear()
            with self._working:
                began_ns, cpu_ns = perf_counter_ns(), thread_time_ns()
                while item is not None:
                    self._work(item)
                    if perf_counter_ns() - began_ns > TURN_NS and queue.qsize() < self._busy:
                        # Whoever waits for the interpreter goes first, and so never waits much longer.
                        sleep(0)
                        began_ns = perf_counter_ns()
                    try:
                        item = queue.get_nowait()
                    except Empty:
                        break
                else:
                    return
                _call(self.after_batch)
                self.spent_ns += thread_time_ns() - cpu_ns

    def _drain_here(self, limit_s: float) -> bool:
        deadline = monotonic() + limit_s
        if not self._working.acquire(timeout=limit_s):
            return False
        try:
            while monotonic() < deadline:
                try:
                    item = self._queue.get_nowait()
                except Empty:
                    _call(self.on_flush)
                    return True
                if item is not None:
                    self._work(item)
        finally:
            self._working.release()
        return False

    def _work(self, item: Any) -> None:
        if isinstance(item, threading.Event):
            _call(self.on_flush)
            item.set()
            return
        try:
            if len(item) == 2:
                if self.observer is not None:
                    self.observer.ended(*item)
            else:
                self._end(*item)
        except Exception as error:
            fault("span thread", error)

    def _end(self, span: Span, end_ns: int, describe: Describe | None, run_span_id: int) -> None:
        try:
            if describe is not None:
                describe(span)
            if self.observer is not None:
                self.observer.ending(span, end_ns)
        except Exception as error:
            fault("span description", error)
        self._ending_on, self._ending_run = get_ident(), run_span_id
        try:
            span.end(end_ns)
        finally:
            self._ending_on = 0


def _call(work: Callable[[], None] | None) -> None:
    try:
        if work is not None:
            work()
    except Exception as error:
        fault("span batch", error)


def _renew(reference: weakref.ref[Finisher]) -> None:
    finisher = reference()
    if finisher is not None:
        finisher.after_fork()
