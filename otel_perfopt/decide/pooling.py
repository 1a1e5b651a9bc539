"""What many uncertain effects say together: estimates with variances in, a shrunk estimate for each and for the next out.

DerSimonian & Laird (1986) for the spread between contexts; empirical-Bayes shrinkage as in Efron & Morris
(1975). Effects are logarithms of ratios, so that they add.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.student_t import student_t

# Between contexts, while fewer than three have been seen: about 10 % of effect, one standard deviation.
ASSUMED_SPREAD = 0.1
_MIN_CONTEXTS = 3
_LARGEST_SAVING = 0.999


@dataclass(frozen=True, slots=True)
class Estimate:
    """One effect: the logarithm of how much better, and its variance."""

    value: float
    variance: float

    def interval(self, level: float = 0.95) -> Interval:
        """Return it as a share saved, with its interval."""
        reach = NormalDist().inv_cdf(0.5 + level / 2) * math.sqrt(self.variance)
        ends = (self.value, self.value - reach, self.value + reach)
        estimate, low, high = (-math.expm1(-end) for end in ends)
        return Interval(estimate, low, high, level)


@dataclass(frozen=True, slots=True)
class Pool:
    """What several contexts say together: their common effect, and the spread between them (a variance)."""

    mean: Estimate
    spread: float

    @property
    def unseen(self) -> Estimate:
        """The effect in a context nobody has tried."""
        return Estimate(self.mean.value, self.mean.variance + self.spread)

    def shrunk(self, seen: Estimate) -> Estimate:
        """Return one context's effect, drawn to the common one the more the less it is known by itself."""
        own = self.spread / (self.spread + seen.variance)
        value = self.mean.value + own * (seen.value - self.mean.value)
        return Estimate(value, own * seen.variance + (1.0 - own) ** 2 * self.mean.variance)


def estimate_of(saved: Interval) -> Estimate:
    """Return a share saved with its interval as an estimate; a bound beyond everything is cut."""
    estimate, low, high = (-math.log1p(-min(_LARGEST_SAVING, end)) for end in (saved.estimate, saved.low, saved.high))
    error = (high - low) / (2.0 * NormalDist().inv_cdf(0.5 + min(saved.level, 0.9999) / 2))
    return Estimate(estimate, max(error, 1e-4) ** 2)


def combined(estimates: Sequence[Estimate]) -> Estimate:
    """Return several estimates of one and the same effect as one."""
    weight = sum(1.0 / one.variance for one in estimates)
    return Estimate(sum(one.value / one.variance for one in estimates) / weight, 1.0 / weight)


def pool(estimates: Sequence[Estimate]) -> Pool:
    """Return what estimates of different contexts (at least one) say together."""
    spread = _spread(estimates) if len(estimates) >= _MIN_CONTEXTS else ASSUMED_SPREAD**2
    return Pool(combined([Estimate(one.value, one.variance + spread) for one in estimates]), spread)


def _spread(estimates: Sequence[Estimate]) -> float:
    weights = [1.0 / one.variance for one in estimates]
    total = sum(weights)
    middle = combined(estimates).value
    beyond = sum(weight * (one.value - middle) ** 2 for weight, one in zip(weights, estimates, strict=True))
    return max(0.0, (beyond - (len(estimates) - 1)) / (total - sum(weight**2 for weight in weights) / total))


def calibration(pairs: Sequence[tuple[Estimate, Estimate]], level: float = 0.95) -> Interval | None:
    """Return realised over predicted from (predicted, realised) pairs, by a weighted line through nothing; None for none.

    A single pair says no more than its own error; with more, errors larger than stated widen the interval.
    """
    usable = [(predicted.value, realised) for predicted, realised in pairs if predicted.value > 0.0]
    strength = sum(value**2 / realised.variance for value, realised in usable)
    if not strength:
        return None
    slope = sum(value * realised.value / realised.variance for value, realised in usable) / strength
    excess, quantile = 1.0, NormalDist().inv_cdf(0.5 + level / 2)
    if len(usable) > 1:
        freedom = len(usable) - 1
        left = sum((one.value - slope * value) ** 2 / one.variance for value, one in usable)
        excess, quantile = max(1.0, left / freedom), student_t(1.0 - level, freedom)
    reach = quantile * math.sqrt(excess / strength)
    return Interval(slope, slope - reach, slope + reach, level)
