"""The failure e-process: in which arm failures fell in, evidence about the ratio of the arms' failure rates out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.verify.evidence import Stratum, log_mean_exp, threshold

HARM_GRID = (1.25, 1.5, 2.0, 3.0, 5.0, 8.0)
# A mismatch is a few percent more often than a multiple, so its grid starts closer to 1.
MISMATCH_GRID = (1.1, *HARM_GRID, 1 / 1.1, *(1 / g for g in HARM_GRID))
_RATIO_LIMIT = 1e4
_BISECTIONS = 40


@dataclass(slots=True)
class EventCounts:
    """How many events (failures, enrolments, exceedances) fell in treatment and in baseline, by stratum.

    This is the whole state of the test: it merges by addition, and the order of events is irrelevant.
    """

    by_stratum: dict[Stratum, tuple[int, int]] = field(default_factory=dict)

    def add(self, stratum: Stratum, *, treatment: bool, count: int = 1) -> None:
        """Count `count` events in one arm."""
        in_treatment, in_baseline = self.by_stratum.get(stratum, (0, 0))
        if treatment:
            in_treatment += count
        else:
            in_baseline += count
        self.by_stratum[stratum] = (in_treatment, in_baseline)

    def merge(self, other: EventCounts) -> None:
        """Add the counts of another process."""
        for stratum, (in_treatment, in_baseline) in other.by_stratum.items():
            self.add(stratum, treatment=True, count=in_treatment)
            self.add(stratum, treatment=False, count=in_baseline)

    @property
    def totals(self) -> tuple[int, int]:
        """Events in treatment and in baseline over all strata."""
        pairs = self.by_stratum.values()
        return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)

    def swapped(self) -> EventCounts:
        """Return the same events with the arms' names exchanged."""
        return EventCounts(
            {
                Stratum(stratum.stage, 1.0 - stratum.allocation): (in_baseline, in_treatment)
                for stratum, (in_treatment, in_baseline) in self.by_stratum.items()
            }
        )


def log_e_above(counts: EventCounts, ratio: float) -> float:
    """Return ln E against H₀: rate(treatment) ≤ `ratio` · rate(baseline); reject at ln(1/α).

    Given that an event happened, it fell in treatment with probability θ(r) = πr/(πr+1−π), whatever
    the base rate then was, so a drifting base rate cancels (Lindon & Malek 2011.03567). For each g of
    the grid the product over events of their likelihood ratio, θ(ratio·g) to θ(ratio), has expectation
    at most 1 at every r ≤ ratio.

    Strata are combined inside the mixture: for one g the product over all strata is a supermartingale,
    and a mean of supermartingales is one. The product of each stratum's own mean would be valid too,
    but would pay for learning g (up to ln 6) again in every stage, although the effect is the same.
    """
    return _log_mixture(counts.by_stratum, ratio, HARM_GRID)


def log_e_below(counts: EventCounts, ratio: float) -> float:
    """Return ln E against H₀: rate(treatment) ≥ `ratio` · rate(baseline): the same test with swapped arms."""
    return log_e_above(counts.swapped(), 1.0 / ratio)


def log_e_mismatch(enrolments: EventCounts) -> float:
    """Return ln E against H₀: units are enrolled in the declared ratio, to either side (exact, a martingale)."""
    return _log_mixture(enrolments.by_stratum, 1.0, MISMATCH_GRID)


def ratio_interval(counts: EventCounts, alpha: float) -> Interval | None:
    """Return treatment's rate over baseline's, each bound holding at every look with probability 1 − `alpha`.

    The interval holds the ratios that neither one-sided test rejects; both are monotone in the ratio.
    None without events; an arm with too few events leaves its side open (0 or infinity).
    """
    if sum(counts.totals) == 0:
        return None
    limit = threshold(alpha)
    low = _crossing(lambda ratio: log_e_above(counts, ratio) >= limit)
    swapped = counts.swapped()
    inverse = _crossing(lambda ratio: log_e_above(swapped, ratio) >= limit)
    high = 1.0 / inverse if inverse else math.inf
    return Interval(_common_ratio(counts), low, high, level=1.0 - 2 * alpha)


def _common_ratio(counts: EventCounts) -> float:
    # Half an event each keeps an empty arm finite.
    ours = sum((1 - stratum.allocation) * (pair[0] + 0.5) for stratum, pair in counts.by_stratum.items())
    theirs = sum(stratum.allocation * (pair[1] + 0.5) for stratum, pair in counts.by_stratum.items())
    return ours / theirs


def _crossing(rejected: Callable[[float], bool]) -> float:
    low, high = 1.0 / _RATIO_LIMIT, _RATIO_LIMIT
    if not rejected(low):
        return 0.0
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return low


def _log_mixture(counts: Mapping[Stratum, tuple[int, int]], ratio: float, grid: tuple[float, ...]) -> float:
    products = [0.0] * len(grid)
    for stratum, (in_treatment, in_baseline) in counts.items():
        for index, (up, down) in enumerate(log_factors(stratum.allocation, ratio, grid)):
            products[index] += in_treatment * up + in_baseline * down
    return log_mean_exp(products)


@lru_cache(maxsize=4096)
def log_factors(allocation: float, ratio: float, grid: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
    """Return, for each g, what one event in treatment and one in baseline add to ln E."""
    odds = allocation * ratio
    rest = 1.0 - allocation
    shrink = [math.log((odds + rest) / (odds * g + rest)) for g in grid]
    return tuple((math.log(g) + down, down) for g, down in zip(grid, shrink, strict=True))


def counts_of(events: Iterable[tuple[Stratum, bool]]) -> EventCounts:
    """Return the counts of a sequence of (stratum, fell in treatment)."""
    counts = EventCounts()
    for stratum, treatment in events:
        counts.add(stratum, treatment=treatment)
    return counts
