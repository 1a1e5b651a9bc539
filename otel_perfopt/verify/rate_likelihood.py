"""The fast half of the margin test: outcomes by arm in, likelihood ratios against the closest harmless rates out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

from otel_perfopt.verify.evidence import Stratum, log_mean_exp

# What the evidence is sought for: a rate in the second arm, and how far beyond the margin the first arm's lies.
RARE_RATES = (0.02, 0.08, 0.25)
EXCESSES = (0.1, 0.3)
# Below a margin the alternative is that the arms do not differ at all.
EQUAL_RATES = (0.03, 0.08, 0.2)
_BISECTIONS = 60


def log_likelihood_e(counts: Mapping[Stratum, tuple[int, int, int, int]], margin: float) -> float:
    """Return ln E against H₀: rate(first) − rate(second) ≤ `margin`.

    `counts` has, by stratum, failures of the first and second arm and units of both; a stratum's
    allocation is the first arm's. For fixed alternative rates each unit contributes its likelihood under them
    over that under the closest rates (in Kullback-Leibler divergence) which H₀ allows. The rates H₀
    allows are convex, so the ratio's expectation is at most 1 at every one of them, whatever they
    are at that unit (reverse information projection: Grünwald, de Heide & Koolen 1906.07801; Turner,
    Ly & Grünwald 2106.02693). Exact; a mean over alternatives; a function of counts.
    """
    logs = [0.0] * len(alternatives(margin))
    for stratum, (failed_1, failed_2, units_1, units_2) in counts.items():
        worked_1, worked_2 = units_1 - failed_1, units_2 - failed_2
        for index, step in enumerate(_table(stratum.allocation, margin)):
            logs[index] += failed_1 * step[0] + worked_1 * step[1] + failed_2 * step[2] + worked_2 * step[3]
    return log_mean_exp(logs) if logs else 0.0


@lru_cache(maxsize=4096)
def _table(share: float, margin: float) -> tuple[tuple[float, float, float, float], ...]:
    return tuple(log_ratios(share, margin, rates) for rates in alternatives(margin))


@lru_cache(maxsize=1024)
def alternatives(margin: float) -> tuple[tuple[float, float], ...]:
    """Return the pairs of rates (first arm, second arm) beyond `margin` that evidence is sought for."""
    if margin < 0.0:
        return tuple((rate, rate) for rate in EQUAL_RATES)
    pairs = ((rate + margin + excess, rate) for rate in RARE_RATES for excess in EXCESSES)
    return tuple(pair for pair in pairs if pair[0] < 1.0)


def log_ratios(share: float, margin: float, rates: tuple[float, float]) -> tuple[float, float, float, float]:
    """Return what a failure and a success in the first arm, and in the second, add to the logarithm."""
    first, second = rates
    closest = _closest(share, margin, rates)
    if closest is None:
        return (0.0, 0.0, 0.0, 0.0)
    near, far = closest
    return (
        math.log(first / near),
        math.log((1.0 - first) / (1.0 - near)),
        math.log(second / far),
        math.log((1.0 - second) / (1.0 - far)),
    )


def _closest(share: float, margin: float, rates: tuple[float, float]) -> tuple[float, float] | None:
    first, second = rates
    low, high = max(0.0, -margin), min(1.0, 1.0 - margin)
    if high <= low or first - second <= margin:
        return None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        near = middle + margin
        slope = share * (near - first) / (near * (1.0 - near))
        slope += (1.0 - share) * (middle - second) / (middle * (1.0 - middle))
        low, high = (middle, high) if slope < 0.0 else (low, middle)
    middle = (low + high) / 2
    return middle + margin, middle
