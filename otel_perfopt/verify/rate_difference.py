"""The test of an absolute margin on two failure rates: outcomes by arm in, evidence about their difference out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.verify.evidence import Stratum, log_mean_exp, threshold
from otel_perfopt.verify.rate_likelihood import log_likelihood_e

# Shares of the largest bet that cannot go bankrupt, and the capital each starts with. Each is a strategy fixed in
# advance; their mean is one too. Most goes where rare failures and a margin of a few points want it.
BETS = (0.02, 0.08, 0.2, 0.4, 0.6)
CAPITAL = (0.02, 0.05, 0.13, 0.3, 0.5)
_BISECTIONS = 40


@dataclass(slots=True)
class OutcomeCounts:
    """By stratum: failures in treatment and in baseline, units in treatment and in baseline; merges by addition."""

    by_stratum: dict[Stratum, tuple[int, int, int, int]] = field(default_factory=dict)

    def add(self, stratum: Stratum, *, treatment: bool, failed: bool) -> None:
        """Count one unit's outcome."""
        one = (int(failed and treatment), int(failed and not treatment), int(treatment), int(not treatment))
        self._add(stratum, one)

    def merge(self, other: OutcomeCounts) -> None:
        """Add the counts of another process."""
        for stratum, counts in other.by_stratum.items():
            self._add(stratum, counts)

    @property
    def totals(self) -> tuple[int, int, int, int]:
        """Failures and units of treatment and baseline over all strata, in the state's order."""
        rows = self.by_stratum.values()
        return (sum(r[0] for r in rows), sum(r[1] for r in rows), sum(r[2] for r in rows), sum(r[3] for r in rows))

    def _add(self, stratum: Stratum, more: tuple[int, int, int, int]) -> None:
        mine = self.by_stratum.get(stratum, (0, 0, 0, 0))
        self.by_stratum[stratum] = (mine[0] + more[0], mine[1] + more[1], mine[2] + more[2], mine[3] + more[3])


def log_e_difference_above(counts: OutcomeCounts, margin: float) -> float:
    """Return ln E against H₀: rate(treatment) − rate(baseline) ≤ `margin`; reject at ln(1/α).

    The mean of two exact e-processes: `log_wealth` does well at small differences, the likelihood
    ratios of `rate_likelihood` find a large one sooner. Both are functions of counts.
    """
    return log_mean_exp((log_wealth(counts, margin, sign=1), log_likelihood_e(counts.by_stratum, margin)))


def log_e_difference_below(counts: OutcomeCounts, margin: float) -> float:
    """Return ln E against H₀: rate(treatment) − rate(baseline) ≥ `margin`, which shows non-inferiority."""
    return log_mean_exp((log_wealth(counts, margin, sign=-1), log_likelihood_e(_swapped(counts), -margin)))


def _swapped(counts: OutcomeCounts) -> dict[Stratum, tuple[int, int, int, int]]:
    return {
        Stratum(stratum.stage, 1.0 - stratum.allocation): (row[1], row[0], row[3], row[2])
        for stratum, row in counts.by_stratum.items()
    }


def difference_interval(counts: OutcomeCounts, alpha: float) -> Interval | None:
    """Return rate(treatment) − rate(baseline), each bound holding at every look with probability 1 − `alpha`.

    None until both arms of some stratum have units. The estimate is the plain difference of the rates
    within strata, weighted as the confidence sequence weights them.
    """
    estimate = _estimate(counts)
    if estimate is None:
        return None
    limit = threshold(alpha)
    inside = _weighted_mean(counts)
    low = _crossing(lambda margin: log_e_difference_above(counts, margin) >= limit, inside=inside, edge=-1.0)
    high = _crossing(lambda margin: log_e_difference_below(counts, margin) >= limit, inside=inside, edge=1.0)
    return Interval(min(max(estimate, low), high), low, high, level=1.0 - 2 * alpha)


def _estimate(counts: OutcomeCounts) -> float | None:
    weights = total = 0.0
    for failed_t, failed_c, units_t, units_c in counts.by_stratum.values():
        if units_t and units_c:
            weight = units_t * units_c / (units_t + units_c)
            weights += weight
            total += weight * (failed_t / units_t - failed_c / units_c)
    return total / weights if weights else None


def _weighted_mean(counts: OutcomeCounts) -> float:
    units = sum(row[2] + row[3] for row in counts.by_stratum.values())
    total = sum(
        row[0] / stratum.allocation - row[1] / (1.0 - stratum.allocation) for stratum, row in counts.by_stratum.items()
    )
    return max(-1.0, min(1.0, total / units))


def _crossing(rejected: Callable[[float], bool], *, inside: float, edge: float) -> float:
    if not rejected(edge):
        return edge
    for _ in range(_BISECTIONS):
        middle = (inside + edge) / 2
        inside, edge = (inside, middle) if rejected(middle) else (middle, edge)
    return edge


def log_wealth(counts: OutcomeCounts, margin: float, *, sign: int) -> float:
    """Return the logarithm of what betting against H₀ has made: difference ≤ `margin` (sign 1) or ≥ (sign −1).

    Under randomisation X = failed·(1{T}/π − 1{C}/(1−π)) has the difference of the rates as its mean at
    every moment, whatever the base rate then is, and is bounded. So ∏(1 + λ(X − margin)) is a
    supermartingale for every λ in [0, 1/(margin + 1/(1−π))) (Waudby-Smith & Ramdas 2010.09686); exact,
    not asymptotic. Bets are a mean over fixed λ instead of plug-in ones: X takes three values a stratum,
    so the wealth is a function of counts, independent of order, and merges.
    """
    wealth = [0.0] * len(BETS)
    for stratum, (ours, theirs, units_t, units_c) in counts.by_stratum.items():
        quiet = units_t + units_c - ours - theirs
        for index, (on_ours, on_theirs, on_quiet) in enumerate(log_factors(stratum.allocation, margin, sign)):
            wealth[index] += ours * on_ours + theirs * on_theirs + quiet * on_quiet
    return log_mean_exp(wealth, CAPITAL)


@lru_cache(maxsize=8192)
def log_factors(allocation: float, margin: float, sign: int) -> tuple[tuple[float, float, float], ...]:
    """Return, for each bet, what a failure in treatment, one in baseline and no failure add to ln wealth."""
    values = (1.0 / allocation, -1.0 / (1.0 - allocation), 0.0)
    gains = [sign * (value - margin) for value in values]
    worst = -min(gains)
    if worst <= 0.0:  # the margin lies outside what X can be: nothing to bet on
        return ((0.0, 0.0, 0.0),) * len(BETS)
    return tuple(
        (math.log1p(bet / worst * gains[0]), math.log1p(bet / worst * gains[1]), math.log1p(bet / worst * gains[2]))
        for bet in BETS
    )
