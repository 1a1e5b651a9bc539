"""A quantile sketch that merges by addition: positive numbers in, quantiles within 1 % out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

GAMMA = 1.02
SMALLEST = 1e-9  # a nanosecond in seconds; below it a value counts as zero
LARGEST = 1e18
_LOG_GAMMA = math.log(GAMMA)


@dataclass(slots=True)
class QuantileSketch:
    """Log-bucket counts (the idea of DDSketch, arXiv:1908.10693): relative error at most (γ−1)/(γ+1) < 1 %.

    Values below a billionth are counted in a bucket of their own and read back as 0, those above
    10¹⁸ as 10¹⁸; so there are never more than 3,141 buckets. What is no number is not counted.
    """

    buckets: Counter[int] = field(default_factory=Counter)
    zeros: int = 0

    def add(self, value: float, count: int = 1) -> None:
        """Count `value` `count` times."""
        if value >= SMALLEST:
            self.buckets[math.ceil(math.log(min(value, LARGEST)) / _LOG_GAMMA)] += count
        elif value < SMALLEST:  # false for NaN
            self.zeros += count

    @property
    def count(self) -> int:
        """How many values have been added."""
        return self.zeros + sum(self.buckets.values())

    def merge(self, other: QuantileSketch) -> None:
        """Add the other sketch's counts to this one."""
        self.buckets.update(other.buckets)
        self.zeros += other.zeros

    def quantile(self, q: float) -> float | None:
        """Return the value at quantile `q` in [0, 1], or None for an empty sketch."""
        return self.quantiles((q,))[0]

    def quantiles(self, qs: Iterable[float]) -> tuple[float | None, ...]:
        """Return the value at each quantile of the ascending `qs`, in one pass; the lower of two neighbours."""
        total = self.count
        ranks = [q * (total - 1) for q in qs]
        if total == 0:
            return (None,) * len(ranks)
        found: list[float | None] = []
        ordered = sorted(self.buckets.items())
        seen, reached, position = self.zeros, 0.0, 0
        for rank in ranks:
            while rank >= seen and position < len(ordered):
                bucket, count = ordered[position]
                seen, reached, position = seen + count, 2 * GAMMA**bucket / (GAMMA + 1), position + 1
            found.append(reached)
        return tuple(found)
