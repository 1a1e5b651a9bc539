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
from typing import Any, Final, Protocol

from opentelemetry.trace import Span

from otel_perfopt.signal.calls import RunContext
from otel_perfopt.signal.emit.ended_span import EndedSpan, Facts
from otel_perfopt.signal.emit.faults import fault

QUEUE_LIMIT: Final = 8192
LARGE_LIMIT: Final = 64
LINGER_S: Final = 0.05
IDLE_S: Final = 10.0
TURN_NS: Final = 200_000
_TURN_ITEMS: Final = 8
_TO_END: Final = 4  # fields of what is still to be ended; what has ended has more

# Sets what is costly to find out on a span that is about to end.
Describe = Callable[[Span], None]


class SpanObserver(Protocol):
    """Who counts spans; called on the finishing thread only, in the order the spans ended in."""

    def ending(self, span: Span, end_ns: int) -> None:
        """One of our spans is about to end and can still be given attributes."""
        ...

    def ended(self, span: EndedSpan) -> None:
        """A span of any instrumentation has ended."""
        ...


class Finisher:
    """One bounded queue and one daemon thread, started with the first span; first in, first out.

    What finds no room is refused (`end`) or counted (`dropped`). A span keeps the end time it was given. The
    thread waits `LINGER_S` before it works, so that it does not compete with whoever gave the span,
    and lets others go first every 0.2 ms; with an
    eighth of the queue full it does neither. A forked child begins with an empty queue: what the
    parent had in it is the parent's.

    Whoever gives a span takes no lock (a signal handler could find it held): a deque takes it, and the
    thread is woken only where it sleeps.
    """

    def __init__(self, limit: int = QUEUE_LIMIT, linger_s: float = LINGER_S, idle_s: float = IDLE_S) -> None:
        self.observer: SpanObserver | None = None
        # Set where somebody exports each span as it ends: they get each at once, in the order of ends.
        self.at_once = False
        # Called by the thread, after each batch (and once when none follows for a while) and for each flush.
        self.after_batch: Callable[[], None] | None = None
        self.on_flush: Callable[[], None] | None = None
        self.dropped = 0
        self.undescribed = 0
        self.spent_ns = 0  # CPU time of the thread
        self._limit = limit
        self._busy = limit // 8
        self._linger_s = linger_s
        self._idle_s = idle_s
        self.after_fork()
        if hasattr(os, "register_at_fork"):
            here = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _renew(here))

    def after_fork(self) -> None:
        """Begin anew, without a thread."""
        self._ending_on = 0
        self._ending_run: RunContext | None = None
        self._queue: deque[Any] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._asleep = True
        self._hurried = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._working = threading.RLock()
        # Taking from and giving to a deque is atomic: no lock that a signal handler could find held.
        self._large: deque[None] = deque([None] * LARGE_LIMIT)

    def has_room(self) -> bool:
        """Tell whether a span would be taken now."""
        if self._thread is None and not self._start():
            return False
        waiting = len(self._queue)
        if waiting < self._busy:
            return True
        if not self._hurried:
            self._hurried = True
            self._ring()
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

    def end(self, span: Span, end_ns: int, describe: Describe | None = None, run: RunContext | None = None) -> bool:
        """End `span` as of `end_ns` soon, after `describe`; False when there is no room, and nothing was done."""
        if not self.has_room():
            return False
        self._queue.append((span, end_ns, describe, run))
        if self._asleep:
            self._ring()
        return True

    def ended(self, facts: Facts) -> None:
        """Have a span counted that has ended already; what finds no room is dropped."""
        if self._ending_on and get_ident() == self._ending_on:
            # One of our own, which this very thread is ending.
            self._count(facts)
            return
        queue = self._queue
        if len(queue) >= self._busy and not self.has_room():
            self.dropped += 1
            return
        queue.append(facts)
        if self._asleep:
            self._ring()

    def flush(self, limit_s: float) -> bool:
        """Have everything given until now ended, in bounded time; False when that did not happen."""
        thread = self._thread
        if thread is threading.current_thread():
            return False
        if thread is None or not thread.is_alive():
            return self._drain_here(limit_s)
        mark = threading.Event()
        self._queue.append(mark)
        self._hurried = True
        self._ring()
        return mark.wait(limit_s)

    def stop(self, limit_s: float) -> None:
        """Flush, and end the thread; a later span starts another."""
        self.flush(limit_s)
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.append(None)
            self._hurried = True
            self._ring()
            thread.join(limit_s)

    def _ring(self) -> None:
        """Wake the thread, which is started if there is none; one ring too many is no harm."""
        self._asleep = False
        self._bell.put(None)
        if self._thread is None:
            self._start()

    def _start(self) -> bool:
        if not self._starting.acquire(blocking=False):
            return True  # another thread is at it
        try:
            if self._thread is None:
                thread = threading.Thread(
                    target=self._run, args=(self._queue, self._bell), name="otel-perfopt-spans", daemon=True
                )
                thread.start()
                self._thread = thread
        except RuntimeError as error:  # the interpreter is going down
            fault("span thread", error)
            return False
        finally:
            self._starting.release()
        return True

    def _run(self, queue: deque[Any], bell: SimpleQueue[None]) -> None:
        working, tidy = True, True
        while working:
            self._asleep = True
            # When nothing comes for a while after work, what it left is written; then it waits as long as it takes.
            tidy = not queue and not _rung(bell, None if tidy else self._idle_s)
            self._asleep = False
            if queue and not self._hurried:
                _rung(bell, self._linger_s)
            self._hurried = False
            with self._working:
                cpu_ns = thread_time_ns()
                working = self._work_off(queue)
                _call(self.after_batch)
                self.spent_ns += thread_time_ns() - cpu_ns
        self._asleep = True  # whoever comes later starts another

    def _work_off(self, queue: deque[Any]) -> bool:
        """Do all there is to do; False when that ends the thread."""
        began_ns, done = perf_counter_ns(), 0
        while True:
            try:
                item = queue.popleft()
            except IndexError:
                return True
            if item is None:
                return False
            self._work(item)
            done += 1
            if not done % _TURN_ITEMS and perf_counter_ns() - began_ns > TURN_NS and len(queue) < self._busy:
                # Whoever waits for the interpreter goes first, and so never waits much longer.
                sleep(0)
                began_ns = perf_counter_ns()

    def _drain_here(self, limit_s: float) -> bool:
        deadline = monotonic() + limit_s
        if not self._working.acquire(timeout=limit_s):
            return False
        try:
            while monotonic() < deadline:
                try:
                    item = self._queue.popleft()
                except IndexError:
                    _call(self.on_flush)
                    return True
                if item is not None:
                    self._work(item)
        finally:
            self._working.release()
        return False

    def _work(self, item: Any) -> None:
        try:
            if isinstance(item, threading.Event):
                _call(self.on_flush)
                item.set()
            elif len(item) == _TO_END:
                self._end(*item)
            else:
                self._count(item)
        except Exception as error:
            fault("span thread", error)

    def _count(self, facts: Facts) -> None:
        observer = self.observer
        if observer is not None:
            span = tuple.__new__(EndedSpan, facts)  # a third of what the class itself takes
            observer.ended(span._replace(run=self._ending_run) if self._ending_on else span)

    def _end(self, span: Span, end_ns: int, describe: Describe | None, run: RunContext | None) -> None:
        try:
            if describe is not None:
                describe(span)
            if self.observer is not None:
                self.observer.ending(span, end_ns)
        except Exception as error:
            fault("span description", error)
        self._ending_on, self._ending_run = get_ident(), run
        try:
            span.end(end_ns)
        finally:
            self._ending_on, self._ending_run = 0, None


def _rung(bell: SimpleQueue[None], limit_s: float | None) -> bool:
    """Wait for the bell; False when it did not ring in time."""
    try:
        bell.get(timeout=limit_s)
    except Empty:
        return False
    return True


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
