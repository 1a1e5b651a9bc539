"""A quantile sketch that merges by addition: positive numbers in, quantiles within 1 % out."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

GAMMA = 1.02
_LOG_GAMMA = math.log(GAMMA)


@dataclass(slots=True)
class QuantileSketch:
    """Log-bucket counts (the idea of DDSketch, arXiv:1908.10693): relative error at most (γ−1)/2 = 1 %.

    Values at or below zero are counted in a bucket of their own and read back as 0.
    """

    buckets: Counter[int] = field(default_factory=Counter)
    zeros: int = 0

    def add(self, value: float, count: int = 1) -> None:
        """Count `value` `count` times."""
        if value > 0:
            self.buckets[math.ceil(math.log(value) / _LOG_GAMMA)] += count
        else:
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
        total = self.count
        if total == 0:
            return None
        rank = q * (total - 1)
        seen = self.zeros
        if rank < seen:
            return 0.0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if rank < seen:
                return 2 * GAMMA**bucket / (GAMMA + 1)
        return 2 * GAMMA ** max(self.buckets) / (GAMMA + 1)
