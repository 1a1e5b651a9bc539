"""How rare a value is, also beyond all that were seen: past values in, the decades of its probability out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from otel_perfopt.analyse.gaps import Values

TAIL_SHARE = 0.05
MIN_TAIL = 10
MOST_DECADES = 20.0
SURE_ERRORS = 1.0


@dataclass(frozen=True, slots=True)
class Tail:
    """The upper tail of past values: ranks where there are values, an exponential tail beyond (peaks over threshold).

    `past` is in order of size, `unordered` in order of time; `start` is where the tail begins, `share`
    how much of the past lies in it, `scale` its mean excess.
    """

    past: Values
    unordered: Values
    start: float
    share: float
    scale: float

    @classmethod
    def of(cls, past: Values) -> Tail:
        """Fit the tail to the largest 5 % of at least ten values."""
        ordered = np.sort(past)
        count = min(ordered.size, max(MIN_TAIL, int(TAIL_SHARE * ordered.size)))
        start = float(ordered[-count])
        return cls(ordered, past, start, count / ordered.size, max(float(np.mean(ordered[-count:])) - start, 1e-12))

    def decades(self, values: Values) -> Values:
        """Return minus the decimal logarithm of how probable it is to reach each value, at most 20."""
        size = self.past.size
        ranks = (size - np.searchsorted(self.past, values, side="left") + 1) / (size + 1)
        beyond = -np.log10(self.share) + np.maximum(values - self.start, 0.0) / self.scale / np.log(10)
        result: Values = np.where(values > self.start, np.minimum(beyond, MOST_DECADES), -np.log10(ranks))
        return result

    def surely(self, values: Values, apart: int, heavier: float = SURE_ERRORS) -> Values:
        """Return the decades that hold for a heavy tail too, known from few independent values.

        A generalised Pareto tail by probability-weighted moments (Hosking & Wallis 1987), its shape
        taken `heavier` standard errors heavier than estimated; only values `apart` bins or more from one
        another count as independent.
        """
        places = np.flatnonzero(self.unordered >= self.start)
        groups = 1 + int(np.sum(np.diff(places) > apart))
        excess = np.sort(self.unordered[places]) - self.start
        mean = float(excess.mean())
        weighted = float(np.mean(excess * (1 - (np.arange(1, excess.size + 1) - 0.35) / excess.size)))
        shape = 2 - mean / (mean - 2 * weighted) if mean > 2 * weighted else 0.0
        shape = float(np.clip(shape + heavier / np.sqrt(groups), 0.01, 1.5))
        reach = np.maximum(values - self.start, 0.0) / self.scale
        found = -np.log10(self.share) + np.log10(1 + shape * reach) / shape
        result: Values = np.where(values > self.start, np.minimum(found, MOST_DECADES), 0.0)
        return result
