"""The early calls of one model reply: its requests in segments between writes in, calls to start and to claim out."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from otel_perfopt.act.early_call import EarlyCall
from otel_perfopt.act.enrolment import Use
from otel_perfopt.signal.calls import ToolCall

# Which calls of a segment are worth making early; asked when it opens, since writes go before it.
Choose = Callable[["Segment"], Sequence["Candidate"]]
# Starts a call early; None when it could not be started.
Start = Callable[[ToolCall, Hashable], EarlyCall | None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A read-only request that could be made early, ready to be made."""

    call: ToolCall
    key: Hashable


@dataclass(frozen=True, slots=True)
class Segment:
    """Read-only requests with no other kind between them; `barrier` is the tool that ends it, empty at the end."""

    candidates: tuple[Candidate, ...]
    barrier: str = ""


@dataclass(slots=True)
class SegmentTimes:
    """Durations of one segment's calls as made in shadow, where nothing is started early."""

    durations_ns: list[int] = field(default_factory=list)

    def saved_ns(self) -> int:
        """What running them at once would have saved."""
        return sum(self.durations_ns) - max(self.durations_ns, default=0)


class EarlyBatch:
    """Opens one segment at a time; starts at most `max_concurrency` calls that nobody has claimed yet."""

    asked: tuple[str, ...] = ()  # the ids of the requests taken in so far, where the reply still streams

    def __init__(
        self,
        use: Use,
        segments: Sequence[Segment],
        max_concurrency: int,
        *,
        choose: Choose,
        start: Start,
        on_wasted: Callable[[str], None],
    ) -> None:
        self.use = use
        self.times = SegmentTimes()
        self._segments = deque(segments)
        self._barrier = ""
        self._waiting: deque[Candidate] = deque()
        self._started: dict[Hashable, deque[EarlyCall]] = {}
        self._running = 0
        self._max_concurrency = max_concurrency
        self._choose = choose
        self._start = start
        self._on_wasted = on_wasted
        self._lock = threading.RLock()
        # A run that ends takes its batch along: what was not claimed until then is wasted.
        finalizer = weakref.finalize(self, _give_up_at_the_end, self._started, on_wasted)
        finalizer.atexit = False

    def open_segment(self) -> int:
        """Start the next segment's calls; return how many."""
        with self._lock:
            if not self._segments:
                return 0
            segment = self._segments.popleft()
            self._barrier = segment.barrier
            self._waiting = deque(self._choose(segment))
            self.times = SegmentTimes()
            return self._fill()

    def grow(self, segments: Sequence[Segment]) -> int:
        """Take in what a streaming reply asks for further on, in segments; return how many calls that let start."""
        with self._lock:
            first, *rest = segments
            if self._segments or self._barrier:
                last = self._segments.pop()
                self._segments.append(Segment((*last.candidates, *first.candidates), first.barrier))
            else:
                self._waiting.extend(self._choose(Segment(first.candidates)))
                self._barrier = first.barrier
            self._segments.extend(rest)
            return self._fill()

    def passed(self, tool: str) -> int:
        """A call of `tool` that is not read-only has been made; return how many calls that let start."""
        with self._lock:
            return self.open_segment() if tool and tool == self._barrier else 0

    def claim(self, key: Hashable) -> EarlyCall | None:
        """Take the early call with that key out, at most once."""
        with self._lock:
            found = self._started.get(key)
            if found:
                early = found.popleft()
                if not found:
                    del self._started[key]
                return early
            self._forget(key)
            return None

    def settled(self) -> int:
        """A claimed call is over; return how many calls its place let start."""
        with self._lock:
            self._running -= 1
            return self._fill()

    def asks_for(self, key: Hashable) -> bool:
        """Tell, in shadow, whether the open segment asks for this call; each request answers once."""
        with self._lock:
            return self._forget(key)

    def close(self) -> None:
        """Nobody will claim anything any more."""
        with self._lock:
            self._segments.clear()
            self._waiting.clear()
            _give_up(self._started, self._on_wasted)

    def _forget(self, key: Hashable) -> bool:
        for candidate in self._waiting:
            if candidate.key == key:
                self._waiting.remove(candidate)
                return True
        return False

    def _fill(self) -> int:
        if self.use.shadow:
            return 0
        count = 0
        while self._waiting and self._running < self._max_concurrency:
            candidate = self._waiting.popleft()
            early = self._start(candidate.call, candidate.key)
            if early is not None:
                self._started.setdefault(candidate.key, deque()).append(early)
                self._running += 1
                count += 1
        return count


def _give_up_at_the_end(started: dict[Hashable, deque[Any]], on_wasted: Callable[[str], None]) -> None:
    # Nobody is there to catch what a finalizer raises: the interpreter would print it to the host's errors.
    with suppress(Exception):
        _give_up(started, on_wasted)


def _give_up(started: dict[Hashable, deque[Any]], on_wasted: Callable[[str], None]) -> None:
    for early in [early for calls in list(started.values()) for early in calls]:
        on_wasted(early.tool)
        early.give_up()
    started.clear()
