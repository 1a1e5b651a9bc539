"""How two groups of runs differ: numbers by conversation in, the difference of their means with its interval out."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean, variance

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.student_t import student_t

MIN_UNITS = 10


def unit_means(values: Iterable[tuple[int, float]]) -> list[float]:
    """Return each unit's mean: runs of one conversation are one observation."""
    by_unit: dict[int, list[float]] = {}
    for unit, value in values:
        by_unit.setdefault(unit, []).append(value)
    return [fmean(found) for found in by_unit.values()]


def mean_difference(one: list[float], other: list[float], *, level: float) -> Interval | None:
    """Return mean(one) − mean(other) with Welch's interval; None below ten units in either."""
    if min(len(one), len(other)) < MIN_UNITS:
        return None
    a, b = variance(one) / len(one), variance(other) / len(other)
    difference = fmean(one) - fmean(other)
    if a + b <= 0:
        return Interval(difference, difference, difference, level)
    freedom = (a + b) ** 2 / (a**2 / (len(one) - 1) + b**2 / (len(other) - 1))
    half = student_t(1 - level, freedom) * (a + b) ** 0.5
    return Interval(difference, difference - half, difference + half, level)


def share_difference(one: list[float], other: list[float], *, level: float) -> Interval | None:
    """Return the difference of two shares with the interval of Agresti and Caffo (2000); None below ten units."""
    if min(len(one), len(other)) < MIN_UNITS:
        return None
    added = [(sum(group) + 1, len(group) + 2) for group in (one, other)]
    (a, n), (b, m) = added
    p, q = a / n, b / m
    half = student_t(1 - level, 1e9) * (p * (1 - p) / n + q * (1 - q) / m) ** 0.5
    return Interval(fmean(one) - fmean(other), p - q - half, p - q + half, level)
