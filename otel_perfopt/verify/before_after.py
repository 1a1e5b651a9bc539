"""Before against after, descriptive only: dated values and the moment of change in, a de-seasonalised difference out."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

from otel_perfopt.analyse.finding import Interval

DAY_NS = 86_400 * 1_000_000_000
HOUR_NS = 3_600 * 1_000_000_000
MIN_DAYS = 3
CAVEAT = "Descriptive: hours of the week are compared with themselves, but whatever else changed at the same time counts too."


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """The change of the geometric mean (−0.3 = 30 % less), adjusted for the hour of the week.

    `compared` is the share of values in hours of the week that both periods have. Never a verdict:
    under a 15 % daily swing plain before/after is wrong more often than right.
    """

    effect: Interval
    before: int
    after: int
    compared: float
    caveat: str = CAVEAT


def before_after(values: Iterable[tuple[int, float]], change_ns: int, level: float = 0.95) -> BeforeAfter | None:
    """Return the adjusted change of `values`, pairs of (Unix ns, positive value), at `change_ns`.

    A regression of the logarithm on the hour of the week (UTC) and on the period, with errors clustered
    by day, since values of one day err together. None with fewer than three days on a side, or no hour
    of the week in common. Values that are not positive and finite are left out.
    """
    usable = (LoggedValues(at, 1, math.log(value)) for at, value in values if math.isfinite(value) and value > 0.0)
    return before_after_sums(usable, change_ns, level)


@dataclass(frozen=True, slots=True)
class LoggedValues:
    """Values of one hour or less: when (Unix ns), how many, and the sum of their logarithms."""

    at_ns: int
    count: int
    total: float


def before_after_sums(values: Iterable[LoggedValues], change_ns: int, level: float = 0.95) -> BeforeAfter | None:
    """Return what `before_after` does, from sums: each is of one hour, and on one side of the change."""
    cells: dict[int, _Cell] = defaultdict(lambda: ([], []))
    given = 0
    for one in values:
        given += one.count
        cells[one.at_ns // HOUR_NS % 168][one.at_ns >= change_ns].append(one)
    shared = {hour: cell for hour, cell in cells.items() if cell[0] and cell[1]}
    weight = sum(_weight(cell) for cell in shared.values())
    if not weight or min(_days(shared, 0), _days(shared, 1)) < MIN_DAYS:
        return None
    effect = sum(_weight(cell) * (_mean(cell[1]) - _mean(cell[0])) for cell in shared.values()) / weight
    error, days = _clustered_error(shared, effect, weight)
    reach = _student(0.5 + level / 2, days - 2) * error
    ends = [math.expm1(end) for end in (effect, effect - reach, effect + reach)]
    before, after = (sum(_count(cell[period]) for cell in shared.values()) for period in (0, 1))
    return BeforeAfter(Interval(ends[0], ends[1], ends[2], level), before, after, (before + after) / given)


_Cell = tuple[list[LoggedValues], list[LoggedValues]]


def _count(values: list[LoggedValues]) -> int:
    return sum(one.count for one in values)


def _mean(values: list[LoggedValues]) -> float:
    return sum(one.total for one in values) / _count(values)


def _weight(cell: _Cell) -> float:
    before, after = _count(cell[0]), _count(cell[1])
    return before * after / (before + after)


def _days(cells: dict[int, _Cell], period: int) -> int:
    return len({one.at_ns // DAY_NS for cell in cells.values() for one in cell[period]})


def _clustered_error(cells: dict[int, _Cell], effect: float, weight: float) -> tuple[float, int]:
    by_day: dict[tuple[int, int], float] = defaultdict(float)
    for before, after in cells.values():
        n_before, n_after = _count(before), _count(after)
        count = n_before + n_after
        total = sum(one.total for one in before) + sum(one.total for one in after) - effect * n_after
        for period, values, pull in ((0, before, -n_after / count), (1, after, n_before / count)):
            for one in values:
                left = one.total - one.count * (total / count + effect * period)
                by_day[period, one.at_ns // DAY_NS] += pull * left
    days = len(by_day)
    return math.sqrt(sum(score * score for score in by_day.values()) * days / (days - 1)) / weight, days


def _student(probability: float, freedom: int) -> float:
    # Abramowitz & Stegun 26.7.5, three terms: within 1 % from four degrees of freedom up.
    z = NormalDist().inv_cdf(probability)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
