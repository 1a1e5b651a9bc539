"""How rare a value is, also beyond all that were seen: past values in, the decades of its probability out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from otel_perfopt.analyse.gaps import Values

TAIL_SHARE = 0.05
MIN_TAIL = 10
MOST_DECADES = 20.0


@dataclass(frozen=True, slots=True)
class Tail:
    """The upper tail of past values: ranks where there are values, an exponential tail beyond (peaks over threshold).

    `start` is where the tail begins, `share` how much of the past lies in it, `scale` its mean excess.
    """

    past: Values
    start: float
    share: float
    scale: float

    @classmethod
    def of(cls, past: Values) -> Tail:
        """Fit the tail to the largest 5 % of at least ten values."""
        ordered = np.sort(past)
        count = min(ordered.size, max(MIN_TAIL, int(TAIL_SHARE * ordered.size)))
        start = float(ordered[-count])
        return cls(ordered, start, count / ordered.size, max(float(np.mean(ordered[-count:])) - start, 1e-12))

    def decades(self, values: Values) -> Values:
        """Return minus the decimal logarithm of how probable it is to reach each value, at most 20."""
        size = self.past.size
        ranks = (size - np.searchsorted(self.past, values, side="left") + 1) / (size + 1)
        beyond = -np.log10(self.share) + np.maximum(values - self.start, 0.0) / self.scale / np.log(10)
        result: Values = np.where(values > self.start, np.minimum(beyond, MOST_DECADES), -np.log10(ranks))
        return result
