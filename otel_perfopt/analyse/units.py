"""Sums by unit of sampling: what each conversation contributed in, shares with bootstrap intervals out."""

from __future__ import annotations

from zlib import crc32

import numpy as np

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.student_t import student_t
from otel_perfopt.execution.model import Execution

MAX_UNITS = 512
MIN_UNITS = 5
RESAMPLES = 1000


class Units:
    """Sums of `width` numbers by conversation, in bounded memory.

    Beyond 512 conversations, whole conversations share a sum by their hash: groups of independent
    units are independent units themselves. Where there are fewer than five conversations the runs
    are the units, and intervals speak of these conversations only.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._conversations = _Sums(width)
        self._runs = _Sums(width)

    def add(self, execution: Execution, *values: float) -> None:
        """Add one run's numbers to its conversation's."""
        self._conversations.add(execution.conversation_id, values)
        self._runs.add(f"{execution.trace_id}/{execution.command.span_id}", values)

    @property
    def _chosen(self) -> _Sums:
        return self._conversations if self._conversations.count >= MIN_UNITS else self._runs

    @property
    def of_conversations(self) -> bool:
        """Whether conversations are the units (else runs are)."""
        return self._conversations.count >= MIN_UNITS

    @property
    def conversations(self) -> int:
        """How many conversations (or groups of them) have been added."""
        return self._conversations.count

    def total(self, column: int) -> float:
        """Return the sum of one column over all units."""
        return self._conversations.total(column)

    def ratio(self, part: int, whole: int, *, seed: int = 0, level: float = 0.95) -> Interval | None:
        """Return the sum of one column over that of another with its bootstrap interval; None below five units."""
        rows = self._chosen.rows()
        if rows.shape[0] < MIN_UNITS or rows[:, whole].sum() <= 0:
            return None
        return ratio_interval(rows[:, part], rows[:, whole], seed=seed, level=level)


class _Sums:
    def __init__(self, width: int) -> None:
        self._width = width
        self._by_key: dict[str | int, list[float]] = {}
        self._grouped = False

    @property
    def count(self) -> int:
        return len(self._by_key)

    def add(self, key: str, values: tuple[float, ...]) -> None:
        place: str | int = _group(key) if self._grouped else key
        sums = self._by_key.get(place)
        if sums is None:
            if not self._grouped and len(self._by_key) >= MAX_UNITS:
                self._regroup()
                self.add(key, values)
                return
            sums = self._by_key.setdefault(place, [0.0] * self._width)
        for column, value in enumerate(values):
            sums[column] += value

    def _regroup(self) -> None:
        known, self._by_key, self._grouped = self._by_key, {}, True
        for key, sums in known.items():
            self.add(str(key), tuple(sums))

    def total(self, column: int) -> float:
        return sum(sums[column] for sums in self._by_key.values())

    def rows(self) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        # Sorted, so that the bootstrap's draws do not depend on the order of reading.
        return np.array([self._by_key[key] for key in sorted(self._by_key, key=str)]).reshape(-1, self._width)


def _group(key: str) -> int:
    return crc32(key.encode()) % MAX_UNITS


def ratio_interval(
    parts: np.ndarray[tuple[int], np.dtype[np.float64]],
    wholes: np.ndarray[tuple[int], np.dtype[np.float64]],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return sum(parts) / sum(wholes) with its percentile bootstrap interval over units (one entry each).

    Percentile intervals of few units are too short; they are widened about the estimate as
    Student's t is wider than the normal (Hesterberg 2015, "What teachers should know about the
    bootstrap"). Both ends stay between the smallest and largest possible value.
    """
    count = parts.size
    estimate = float(parts.sum() / wholes.sum())
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    sums = weights @ wholes
    ratios = (weights @ parts)[sums > 0] / sums[sums > 0]
    tail = (1 - level) / 2
    low, high = np.quantile(ratios, (tail, 1 - tail))
    wider = student_t(1 - level, count - 1) / student_t(1 - level, 1e9) * (count / (count - 1)) ** 0.5
    least = min(0.0, estimate) if parts.min() >= 0 else -np.inf
    most = max(1.0, estimate) if bool(np.all(parts <= wholes)) else np.inf
    return Interval(
        estimate,
        float(max(least, estimate - wider * (estimate - low))),
        float(min(most, estimate + wider * (high - estimate))),
        level,
    )
