"""Where values lie in a drawing: a range of values and of pixels in, places and round ticks out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Axis:
    """A straight scale from values to pixels; values beyond the range lie at its end."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return the pixel of a value."""
        if self.high <= self.low:
            return self.start
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, about: int) -> Sequence[float]:
        """Return round values inside the range, about so many."""
        span = self.high - self.low
        if span <= 0 or not math.isfinite(span):
            return (self.low,)
        rough = span / max(1, about)
        base = 10.0 ** math.floor(math.log10(rough))
        step = next(base * factor for factor in (1, 2, 5, 10) if base * factor >= rough)
        first = math.ceil(self.low / step)
        return tuple(round(number * step, 12) for number in range(first, math.floor(self.high / step) + 1))
