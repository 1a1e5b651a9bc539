"""How sure a proportion is: successes and trials in, Wilson's score interval out."""

from __future__ import annotations

from statistics import NormalDist

from otel_perfopt.analyse.finding import Interval


def wilson(successes: int, trials: int, *, level: float = 0.95) -> Interval | None:
    """Return the proportion with Wilson's (1927) interval; None without trials."""
    if trials <= 0:
        return None
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), level)
