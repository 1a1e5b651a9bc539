"""Calls as they end in, what the last minute held by name out; memory is bounded by names and slots."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from otel_perfopt.measure.sketch import QuantileSketch

SLOTS = 12
MOST_NAMES = 200
OTHERS = "(others)"


class RowKind(str, Enum):
    """What a row is about."""

    COMMAND = "command"
    TOOL = "tool"
    MODEL = "model"

    __str__ = str.__str__


@dataclass(slots=True)
class Counts:
    """What ended in one slot of time: calls, errors, seconds, tokens."""

    calls: int = 0
    errors: int = 0
    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    durations: QuantileSketch = field(default_factory=QuantileSketch)

    def merge(self, other: Counts) -> None:
        """Add what the other holds."""
        self.calls += other.calls
        self.errors += other.errors
        self.seconds += other.seconds
        self.tokens_in += other.tokens_in
        self.tokens_out += other.tokens_out
        self.durations.merge(other.durations)

    def add_duration(self, seconds: float, count: int = 1) -> None:
        """Count `count` calls that took about `seconds` each."""
        self.calls += count
        self.seconds += seconds * count
        self.durations.add(seconds, count)


@dataclass(frozen=True, slots=True)
class Row:
    """One name in the window: how often a minute, how many at once on average, times in s, errors, tokens."""

    name: str
    a_minute: float
    at_once: float
    p50_s: float | None
    p95_s: float | None
    calls: int
    errors: int
    tokens_in: int
    tokens_out: int


class LiveWindow:
    """The last `window_s` seconds in twelve slots; names beyond 200 of a kind are counted together."""

    def __init__(self, window_s: float = 60.0) -> None:
        self.window_s = window_s
        self._slot_ns = int(window_s * 1e9 / SLOTS)
        self._rows: dict[RowKind, dict[str, deque[tuple[int, Counts]]]] = {kind: {} for kind in RowKind}
        self._first_ns = 0
        self.last_ns = 0

    def slot(self, kind: RowKind, name: str, span_ns: tuple[int, int], now_ns: int) -> Counts | None:
        """Return where a call is counted that began and ended at `span_ns`; None where it ended before the window."""
        start_ns, end_ns = span_ns
        self.last_ns = max(self.last_ns, min(end_ns, now_ns))
        number = min(end_ns, now_ns) // self._slot_ns
        if number <= now_ns // self._slot_ns - SLOTS:
            return None
        self._first_ns = min(self._first_ns or start_ns, start_ns)
        rows = self._rows[kind]
        if name not in rows and len(rows) >= MOST_NAMES:
            name = OTHERS
        slots = rows.setdefault(name, deque(maxlen=SLOTS))
        for known, counts in reversed(slots):
            if known == number:
                return counts
        found = Counts()
        slots.append((number, found))
        return found

    def rows(self, kind: RowKind, now_ns: int) -> tuple[Row, ...]:
        """Return what the window holds, busiest first, and forget names that it no longer holds."""
        oldest = now_ns // self._slot_ns - SLOTS
        rows = self._rows[kind]
        for name in [name for name, slots in rows.items() if all(number <= oldest for number, _ in slots)]:
            del rows[name]
        seconds = self._seconds(now_ns)
        merged = (
            (name, _merged(counts for number, counts in slots if number > oldest)) for name, slots in rows.items()
        )
        found = (_row(name, counts, seconds) for name, counts in merged)
        return tuple(sorted(found, key=lambda row: (-row.at_once, -row.a_minute, row.name)))

    def _seconds(self, now_ns: int) -> float:
        # The slot of this moment is not full yet, and who has watched for ten seconds knows of ten seconds.
        oldest_ns = (now_ns // self._slot_ns - SLOTS + 1) * self._slot_ns
        return max(1.0, (now_ns - max(oldest_ns, self._first_ns)) / 1e9)


def _merged(parts: Iterable[Counts]) -> Counts:
    total = Counts()
    for part in parts:
        total.merge(part)
    return total


def _row(name: str, counts: Counts, seconds: float) -> Row:
    p50, p95 = counts.durations.quantiles((0.5, 0.95))
    return Row(
        name=name,
        a_minute=counts.calls * 60 / seconds,
        at_once=counts.seconds / seconds,
        p50_s=p50,
        p95_s=p95,
        calls=counts.calls,
        errors=counts.errors,
        tokens_in=counts.tokens_in,
        tokens_out=counts.tokens_out,
    )
