"""The asymptotic confidence sequence on means: sums by arm and stratum in, an effect with bounds valid at any look out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from otel_perfopt.verify.evidence import Stratum

TARGET_UNITS = 500.0
# Below this a stratum's variance is too loosely known to take part; it joins by its size alone, whatever it holds.
MIN_STRATUM_UNITS = 5
_ROUNDING = 1e-12


class Scale(str, Enum):
    """How two arms' means are set against each other."""

    LOG = "log"  # values are logarithms; their difference is the log ratio of geometric means
    RATIO = "ratio"  # the log ratio of arithmetic means, by the delta method
    DIFFERENCE = "difference"  # the difference of arithmetic means

    __str__ = str.__str__


@dataclass(slots=True)
class Moments:
    """Count, sum and sum of squares of one arm in one stratum."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        """Count one unit's value."""
        self.count += 1
        self.total += value
        self.squares += value * value

    def merge(self, other: Moments) -> None:
        """Add the sums of another process."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares

    @property
    def mean(self) -> float:
        """The arithmetic mean; needs a count."""
        return self.total / self.count

    @property
    def variance(self) -> float:
        """The sample variance; needs a count of two. Never so small that rounding would pass for an effect."""
        return max(_ROUNDING * self.mean**2, (self.squares - self.total * self.mean) / (self.count - 1))


@dataclass(slots=True)
class ArmMoments:
    """Moments of treatment and of baseline, by stratum: the whole state, which merges by addition."""

    by_stratum: dict[Stratum, tuple[Moments, Moments]] = field(default_factory=dict)

    def add(self, stratum: Stratum, value: float, *, treatment: bool) -> None:
        """Count one unit's value in its arm."""
        pair = self.by_stratum.get(stratum)
        if pair is None:
            pair = self.by_stratum[stratum] = (Moments(), Moments())
        pair[0 if treatment else 1].add(value)

    def merge(self, other: ArmMoments) -> None:
        """Add the sums of another process."""
        for stratum, (treatment, baseline) in other.by_stratum.items():
            mine = self.by_stratum.setdefault(stratum, (Moments(), Moments()))
            mine[0].merge(treatment)
            mine[1].merge(baseline)


@dataclass(frozen=True, slots=True)
class Contrast:
    """Treatment against baseline now: estimate, its variance, and how much information that is.

    `units` is what the information is worth in units of a 50/50 split (4·n_T·n_C/(n_T+n_C), summed
    over strata); `treatment` and `baseline` are the units that took part.
    """

    estimate: float
    variance: float
    units: float
    treatment: int
    baseline: int


def contrast(
    moments: ArmMoments, scale: Scale, include: Callable[[Stratum], bool] = lambda _stratum: True
) -> Contrast | None:
    """Return the stratified contrast over the strata that `include` accepts, or None when none is large enough.

    Strata are weighted by h = n_T·n_C/(n_T+n_C), the weight that is best when the spread is the same
    everywhere. It depends on enrolment alone, never on an outcome, so it cannot favour a stratum for what it
    shows; and h·Δ̂ of a stratum is a sum over its units, so Σh·Δ̂ grows by independent steps with drift
    h·δ and variance h²·v: what a sequential bound needs. Weights by estimated inverse variance would
    be correlated with skewed means in small strata. Where the effect differs by stage, the interval is
    for its h-weighted mean.
    """
    weight_sum = weighted = spread = 0.0
    units_t = units_c = 0
    for stratum, (treatment, baseline) in moments.by_stratum.items():
        if min(treatment.count, baseline.count) < MIN_STRATUM_UNITS or not include(stratum):
            continue
        step = _stratum_contrast(treatment, baseline, scale)
        if step is None:
            continue
        weight = treatment.count * baseline.count / (treatment.count + baseline.count)
        weight_sum += weight
        weighted += weight * step[0]
        spread += weight * weight * step[1]
        units_t += treatment.count
        units_c += baseline.count
    if not weight_sum:
        return None
    return Contrast(weighted / weight_sum, spread / weight_sum**2, 4 * weight_sum, units_t, units_c)


def _stratum_contrast(treatment: Moments, baseline: Moments, scale: Scale) -> tuple[float, float] | None:
    if scale is not Scale.RATIO:
        spread = treatment.variance / treatment.count + baseline.variance / baseline.count
        return treatment.mean - baseline.mean, spread
    if treatment.mean <= 0.0 and baseline.mean <= 0.0:
        return None
    (mean_t, spread_t), (mean_c, spread_c) = _relative(treatment, baseline), _relative(baseline, treatment)
    return math.log(mean_t / mean_c), spread_t + spread_c


def _relative(arm: Moments, other: Moments) -> tuple[float, float]:
    """Return an arm's mean and that mean's relative variance.

    An arm in which everything is zero stands as one with half an event, as large as the other arm's are
    and as uncertain as half an event is: else the worst a score can be would be no evidence at all.
    """
    if arm.mean <= 0.0:
        return other.squares / other.total / (2 * arm.count), 2.0
    return arm.mean, arm.variance / arm.count / arm.mean**2


def radius(variance: float, units: float, alpha: float, target_units: float = TARGET_UNITS) -> float:
    """Return how far a one-sided bound lies from the estimate; it holds at all looks together with 1 − `alpha`.

    √[2·v·(1+1/(tρ²))·ln(1+√(tρ²+1)/(2α))] for an estimate of variance v after t units: DESIGN's
    σ̂√[2(tρ²+1)/(t²ρ²)·ln(…)] with σ̂² = t·v. ρ makes it tightest at `target_units`. Two of them, one a
    side, make an interval of level 1 − 2·`alpha`. (Robbins' one-sided normal mixture; Waudby-Smith et al.
    2103.06476; Maharaj et al. 2302.10108.) Here t counts units of a 50/50 split, so that t stays
    proportional to information when the allocation changes, as the mixture demands; at 50/50 it is
    the number of units.
    """
    log_term = -2.0 * math.log(2.0 * alpha)
    rho_squared = (log_term + math.log(1.0 + log_term)) / target_units
    scaled = units * rho_squared
    return math.sqrt(2.0 * variance * (1.0 + 1.0 / scaled) * math.log1p(math.sqrt(scaled + 1.0) / (2.0 * alpha)))
