"""How much values scatter, in treatment against baseline: units' values in, the change of their spread out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.verify.confidence_sequence import Contrast, radius
from otel_perfopt.verify.evidence import LARGEST_LOG, Stratum
from otel_perfopt.verify.metric_test import BALANCED, MetricTest, like

# Fourth moments are loosely known before that; below it nothing is said, of harm neither.
MIN_SPREAD_UNITS = 100


@dataclass(slots=True)
class PowerSums:
    """Count and sums of the first four powers of one arm's logarithms in one stratum; merges by addition."""

    count: int = 0
    sums: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def add(self, value: float) -> None:
        """Count one unit's value."""
        square = value * value
        first, second, third, fourth = self.sums
        self.count += 1
        self.sums = (first + value, second + square, third + square * value, fourth + square * square)

    def merge(self, other: PowerSums) -> None:
        """Add the sums of another process."""
        self.count += other.count
        mine, theirs = self.sums, other.sums
        self.sums = (mine[0] + theirs[0], mine[1] + theirs[1], mine[2] + theirs[2], mine[3] + theirs[3])

    def log_spread(self) -> tuple[float, float] | None:
        """Return the logarithm of the standard deviation and the variance of that estimate; None without spread.

        ln s is asymptotically linear with variance (κ − 1) / 4n, κ being the kurtosis: so it is a mean
        of independent terms in the limit, and what bounds means at every look bounds it too.
        """
        mean, second, third, fourth = (total / self.count for total in self.sums)
        variance = second - mean * mean
        if variance <= 1e-12 * max(1.0, mean * mean):
            return None
        about_mean = fourth - 4 * mean * third + 6 * mean * mean * second - 3 * mean**4
        kurtosis = max(1.0 + 1e-6, about_mean / (variance * variance))
        return 0.5 * math.log(variance), (kurtosis - 1.0) / (4 * self.count)


@dataclass(slots=True)
class SpreadTest:
    """The standard deviation of logarithms by an asymptotic confidence sequence on its own logarithm.

    Spread of logarithms is free of the level, so a treatment that halves every duration changes
    nothing here, and one that makes some runs much slower and others faster does.
    """

    target_units: float = 500.0
    by_stratum: dict[Stratum, tuple[PowerSums, PowerSums]] = field(default_factory=dict)
    absolute: bool = False

    @property
    def counts(self) -> tuple[int, int]:
        """Treatment's and baseline's units."""
        pairs = self.by_stratum.values()
        return sum(pair[0].count for pair in pairs), sum(pair[1].count for pair in pairs)

    def add(self, stratum: Stratum, value: float, *, treatment: bool) -> None:
        """Count one unit's value, which is positive."""
        pair = self.by_stratum.get(stratum)
        if pair is None:
            pair = self.by_stratum[stratum] = (PowerSums(), PowerSums())
        pair[0 if treatment else 1].add(math.log(value))

    def merge(self, other: MetricTest) -> None:
        """Add another process's sums."""
        for stratum, (treatment, baseline) in like(self, other).by_stratum.items():
            mine = self.by_stratum.setdefault(stratum, (PowerSums(), PowerSums()))
            mine[0].merge(treatment)
            mine[1].merge(baseline)

    def above(self, limit: float, alpha: float, *, benefit: bool) -> bool:
        """Tell whether the spread's relative change exceeds `limit`."""
        found = self._contrast(benefit=benefit)
        return found is not None and found.estimate - self._radius(found, alpha) > _scaled(limit)

    def below(self, limit: float, alpha: float, *, benefit: bool) -> bool:
        """Tell whether the spread's relative change falls short of `limit`."""
        found = self._contrast(benefit=benefit)
        return found is not None and found.estimate + self._radius(found, alpha) < _scaled(limit)

    def log_e(self, limit: float, *, above: bool) -> None:
        """Return nothing: the interval is the evidence."""

    def interval(self, alpha: float, *, benefit: bool) -> Interval | None:
        """Return the spread's relative change."""
        found = self._contrast(benefit=benefit)
        if found is None:
            return None
        reach = self._radius(found, alpha)
        ends = [found.estimate, found.estimate - reach, found.estimate + reach]
        ends = [math.expm1(min(end, LARGEST_LOG)) for end in ends]
        return Interval(ends[0], ends[1], ends[2], level=1.0 - 2 * alpha)

    def _contrast(self, *, benefit: bool) -> Contrast | None:
        weight_sum = weighted = variance = 0.0
        units = [0, 0]
        for stratum, (treatment, baseline) in self.by_stratum.items():
            if min(treatment.count, baseline.count) < MIN_SPREAD_UNITS:
                continue
            if benefit and not BALANCED[0] <= stratum.allocation <= BALANCED[1]:
                continue
            ours, theirs = treatment.log_spread(), baseline.log_spread()
            if ours is None or theirs is None:
                continue
            weight = treatment.count * baseline.count / (treatment.count + baseline.count)
            weight_sum += weight
            weighted += weight * (ours[0] - theirs[0])
            variance += weight * weight * (ours[1] + theirs[1])
            units = [units[0] + treatment.count, units[1] + baseline.count]
        if not weight_sum:
            return None
        return Contrast(weighted / weight_sum, variance / weight_sum**2, 4 * weight_sum, units[0], units[1])

    def _radius(self, found: Contrast, alpha: float) -> float:
        return radius(found.variance, found.units, alpha, self.target_units)


def _scaled(limit: float) -> float:
    return math.log1p(limit) if limit > -1.0 else -math.inf
