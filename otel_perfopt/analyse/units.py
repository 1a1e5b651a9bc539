"""Sums by unit of sampling: what each conversation contributed in, shares with bootstrap intervals out."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.student_t import student_t
from otel_perfopt.execution.model import Execution

MAX_UNITS = 512
MIN_UNITS = 5
RESAMPLES = 1000


Column = Hashable


class Units:
    """Sums of named numbers by conversation, in bounded memory.

    Beyond 512 conversations, whole conversations share a sum by their hash: groups of independent
    units are independent units themselves. Where there are fewer than five conversations the runs
    are the units, and intervals speak of these conversations only. A number that a run does not
    give counts as zero.
    """

    def __init__(self) -> None:
        self._conversations = _Sums()
        self._runs = _Sums()

    def add(self, execution: Execution, values: Mapping[Any, float]) -> None:
        """Add one run's numbers to its conversation's."""
        self._conversations.add(execution.conversation_id, values)
        self._runs.add(f"{execution.trace_id}/{execution.command.span_id}", values)

    @property
    def of_conversations(self) -> bool:
        """Whether conversations are the units (else runs are)."""
        return len(self._conversations.by_key) >= MIN_UNITS

    @property
    def count(self) -> int:
        """How many conversations (or groups of them) have been added."""
        return len(self._conversations.by_key)

    def total(self, column: Column) -> float:
        """Return the sum of one column over all units."""
        return sum(sums.get(column, 0.0) for sums in self._conversations.by_key.values())

    def ratio(self, part: Column, whole: Column, *, seed: int = 0, level: float = 0.95) -> Interval | None:
        """Return the sum of one column over that of another with its bootstrap interval; None below five units."""
        return self.ratio_of_sum((part,), whole, seed=seed, level=level)

    def ratio_of_sum(
        self, parts_of: Iterable[Column], whole: Column, *, seed: int = 0, level: float = 0.95
    ) -> Interval | None:
        """Return the sum of several columns over that of another, as `ratio` does for one."""
        columns = tuple(parts_of)
        sums = (self._conversations if self.of_conversations else self._runs).by_key
        # In order of key, so that the bootstrap's draws do not depend on the order of reading.
        rows = [sums[key] for key in sorted(sums, key=str)]
        parts = np.array([sum(row.get(part, 0.0) for part in columns) for row in rows])
        wholes = np.array([row.get(whole, 0.0) for row in rows])
        if len(rows) < MIN_UNITS or wholes.sum() <= 0:
            return None
        return ratio_interval(parts, wholes, seed=seed, level=level)

    def time_share(self, part: Column, whole: Column, *, seed: int = 0) -> Interval | None:
        """Return `ratio`; None where the part took no time at all, since then its runs have no clock."""
        return self.ratio(part, whole, seed=seed) if self.total(part) > 0 else None


class _Sums:
    def __init__(self) -> None:
        self.by_key: dict[str | int, dict[Column, float]] = {}
        self._grouped = False

    def add(self, key: str, values: Mapping[Any, float]) -> None:
        if not self._grouped and key not in self.by_key and len(self.by_key) >= MAX_UNITS:
            self._group()
        sums = self.by_key.setdefault(_group(key) if self._grouped else key, {})
        for column, value in values.items():
            sums[column] = sums.get(column, 0.0) + value

    def _group(self) -> None:
        known, self.by_key, self._grouped = self.by_key, {}, True
        for key, sums in known.items():
            self.add(str(key), sums)


def _group(key: str) -> int:
    return crc32(key.encode()) % MAX_UNITS


@lru_cache(maxsize=4)
def _weights(count: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    # The same draws serve every share of the same units; floats, because those multiply fast.
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    weights: np.ndarray[tuple[int, int], np.dtype[np.float64]] = drawn.astype(np.float64)
    return weights


def quantiles(values: NDArray[np.float64], shares: Sequence[float]) -> NDArray[np.float64]:
    """Return what `np.quantile` does of one value or more; that loads a large module and takes long over a few."""
    places = np.array(shares) * (values.size - 1)
    return np.asarray(np.interp(places, np.arange(values.size), np.sort(values)), dtype=np.float64)


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
    weights = _weights(count, seed)
    sums = weights @ wholes
    ratios = (weights @ parts)[sums > 0] / sums[sums > 0]
    tail = (1 - level) / 2
    low, high = quantiles(ratios, (tail, 1 - tail))
    wider = student_t(1 - level, count - 1) / student_t(1 - level, 1e9) * (count / (count - 1)) ** 0.5
    least = min(0.0, estimate) if parts.min() >= 0 else -np.inf
    most = max(1.0, estimate) if bool(np.all(parts <= wholes)) else np.inf
    return Interval(
        estimate,
        float(max(least, estimate - wider * (estimate - low))),
        float(min(most, estimate + wider * (high - estimate))),
        level,
    )
