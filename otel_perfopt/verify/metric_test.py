"""One metric's running test: a unit's value at a time in, whether its effect lies above or below a limit out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.verify.confidence_sequence import ArmMoments, Contrast, Scale, contrast, radius
from otel_perfopt.verify.evidence import LARGEST_LOG, Stratum, threshold
from otel_perfopt.verify.failure_eprocess import EventCounts, log_e_above, log_e_below, ratio_interval
from otel_perfopt.verify.rate_difference import (
    OutcomeCounts,
    difference_interval,
    log_e_difference_above,
    log_e_difference_below,
)

# Means are asymptotic: harm is not spoken of below this many units an arm, and benefit only where arms are balanced.
MIN_HARM_UNITS = 30
BALANCED = (1 / 3, 2 / 3)


class MetricTest(Protocol):
    """What a comparison asks of a metric. Effects are relative changes, or differences where the limit is absolute.

    `above` and `below` hold at any look with error at most `alpha`; `benefit` says that a claim in
    treatment's favour hangs on the answer, for which means need more.
    """

    @property
    def absolute(self) -> bool:
        """Whether effects and limits are differences."""
        ...

    @property
    def counts(self) -> tuple[int, int]:
        """Treatment's and baseline's units that took part."""
        ...

    def add(self, stratum: Stratum, value: float, *, treatment: bool) -> None:
        """Take one unit's value into account; it is finite and not negative."""
        ...

    def merge(self, other: MetricTest) -> None:
        """Add the state of another process's test of the same metric; ValueError where the two do not fit."""
        ...

    def above(self, limit: float, alpha: float, *, benefit: bool) -> bool:
        """Tell whether the effect has been shown to exceed `limit`."""
        ...

    def below(self, limit: float, alpha: float, *, benefit: bool) -> bool:
        """Tell whether the effect has been shown to fall short of `limit`."""
        ...

    def log_e(self, limit: float, *, above: bool) -> float | None:
        """Return the evidence for lying beyond `limit`, where the test has such a number."""
        ...

    def interval(self, alpha: float, *, benefit: bool) -> Interval | None:
        """Return the effect, each side's bound at error `alpha`."""
        ...


_T = TypeVar("_T")


def like(mine: _T, other: object) -> _T:
    """Return `other` as what `mine` is.

    Raises:
        ValueError: it is of another kind.
    """
    if type(other) is not type(mine):
        raise ValueError(f"{type(other).__name__} does not merge into {type(mine).__name__}")
    return other


@dataclass(slots=True)
class RatioTest:
    """Events by the failure e-process: exact, limits are relative."""

    events: EventCounts = field(default_factory=EventCounts)
    outcomes: OutcomeCounts = field(default_factory=OutcomeCounts)
    absolute: bool = False

    @property
    def counts(self) -> tuple[int, int]:
        """Treatment's and baseline's units."""
        return self.outcomes.totals[2:]

    def add(self, stratum: Stratum, value: float, *, treatment: bool) -> None:
        """Count one unit; any value above zero is an event."""
        self.outcomes.add(stratum, treatment=treatment, failed=value > 0)
        if value > 0:
            self.events.add(stratum, treatment=treatment)

    def merge(self, other: MetricTest) -> None:
        """Add another process's counts."""
        theirs = like(self, other)
        self.events.merge(theirs.events)
        self.outcomes.merge(theirs.outcomes)

    def above(self, limit: float, alpha: float, *, benefit: bool) -> bool:  # noqa: ARG002 - exact either way
        """Tell whether the rate's relative change exceeds `limit`."""
        return self.log_e(limit, above=True) >= threshold(alpha)

    def below(self, limit: float, alpha: float, *, benefit: bool) -> bool:  # noqa: ARG002 - exact either way
        """Tell whether the rate's relative change falls short of `limit`."""
        return self.log_e(limit, above=False) >= threshold(alpha)

    def log_e(self, limit: float, *, above: bool) -> float:
        """Return the e-process's logarithm."""
        test = log_e_above if above else log_e_below
        return test(self.events, 1.0 + limit)

    def interval(self, alpha: float, *, benefit: bool) -> Interval | None:  # noqa: ARG002 - exact either way
        """Return the rate's relative change."""
        found = ratio_interval(self.events, alpha)
        return found and Interval(found.estimate - 1, found.low - 1, found.high - 1, found.level)


@dataclass(slots=True)
class DifferenceTest:
    """Events by betting on the difference of rates: exact, limits are absolute."""

    outcomes: OutcomeCounts = field(default_factory=OutcomeCounts)
    absolute: bool = True

    @property
    def counts(self) -> tuple[int, int]:
        """Treatment's and baseline's units."""
        return self.outcomes.totals[2:]

    def add(self, stratum: Stratum, value: float, *, treatment: bool) -> None:
        """Count one unit; any value above zero is an event."""
        self.outcomes.add(stratum, treatment=treatment, failed=value > 0)

    def merge(self, other: MetricTest) -> None:
        """Add another process's counts."""
        self.outcomes.merge(like(self, other).outcomes)

    def above(self, limit: float, alpha: float, *, benefit: bool) -> bool:  # noqa: ARG002 - exact either way
        """Tell whether the difference exceeds `limit`."""
        return self.log_e(limit, above=True) >= threshold(alpha)

    def below(self, limit: float, alpha: float, *, benefit: bool) -> bool:  # noqa: ARG002 - exact either way
        """Tell whether the difference falls short of `limit`."""
        return self.log_e(limit, above=False) >= threshold(alpha)

    def log_e(self, limit: float, *, above: bool) -> float:
        """Return the betting martingale's logarithm."""
        test = log_e_difference_above if above else log_e_difference_below
        return test(self.outcomes, limit)

    def interval(self, alpha: float, *, benefit: bool) -> Interval | None:  # noqa: ARG002 - exact either way
        """Return the difference of the rates."""
        return difference_interval(self.outcomes, alpha)


@dataclass(slots=True)
class MeanTest:
    """Means by the asymptotic confidence sequence on one scale; strata in `muted` are not used."""

    scale: Scale
    min_units_each: int
    floor: float = 0.0
    target_units: float = 500.0
    moments: ArmMoments = field(default_factory=ArmMoments)
    muted: set[Stratum] = field(default_factory=set)

    @property
    def absolute(self) -> bool:
        """Whether effects and limits are differences."""
        return self.scale is Scale.DIFFERENCE

    @property
    def counts(self) -> tuple[int, int]:
        """Treatment's and baseline's units."""
        pairs = self.moments.by_stratum.values()
        return sum(pair[0].count for pair in pairs), sum(pair[1].count for pair in pairs)

    def add(self, stratum: Stratum, value: float, *, treatment: bool) -> None:
        """Count one unit's value, as its logarithm on that scale."""
        kept = math.log(max(value, self.floor)) if self.scale is Scale.LOG else value
        self.moments.add(stratum, kept, treatment=treatment)

    def merge(self, other: MetricTest) -> None:
        """Add another process's sums."""
        self.moments.merge(like(self, other).moments)

    def above(self, limit: float, alpha: float, *, benefit: bool) -> bool:
        """Tell whether the effect exceeds `limit`."""
        found = self._contrast(benefit=benefit)
        return found is not None and found.estimate - self._radius(found, alpha) > self._scaled(limit)

    def below(self, limit: float, alpha: float, *, benefit: bool) -> bool:
        """Tell whether the effect falls short of `limit`."""
        found = self._contrast(benefit=benefit)
        return found is not None and found.estimate + self._radius(found, alpha) < self._scaled(limit)

    def log_e(self, limit: float, *, above: bool) -> None:
        """Return nothing: the interval is the evidence."""

    def interval(self, alpha: float, *, benefit: bool) -> Interval | None:
        """Return the relative change of the means, or their difference on that scale."""
        found = self._contrast(benefit=benefit)
        if found is None:
            return None
        reach = self._radius(found, alpha)
        ends = [found.estimate, found.estimate - reach, found.estimate + reach]
        if not self.absolute:
            ends = [math.expm1(min(end, LARGEST_LOG)) for end in ends]
        return Interval(ends[0], ends[1], ends[2], level=1.0 - 2 * alpha)

    def _contrast(self, *, benefit: bool) -> Contrast | None:
        found = contrast(self.moments, self.scale, self._balanced if benefit else self._heard)
        least = self.min_units_each if benefit else MIN_HARM_UNITS
        return found if found is not None and min(found.treatment, found.baseline) >= least else None

    def _scaled(self, limit: float) -> float:
        if self.absolute:
            return limit
        return math.log1p(limit) if limit > -1.0 else -math.inf

    def _radius(self, found: Contrast, alpha: float) -> float:
        return radius(found.variance, found.units, alpha, self.target_units)

    def _heard(self, stratum: Stratum) -> bool:
        return stratum not in self.muted

    def _balanced(self, stratum: Stratum) -> bool:
        return BALANCED[0] <= stratum.allocation <= BALANCED[1] and stratum not in self.muted


@dataclass(slots=True)
class FaultTest:
    """Exceptions of our own: more treatment units with one than tolerated is harm, none more is fine."""

    faulted: int = 0
    units: tuple[int, int] = (0, 0)
    absolute: bool = True

    @property
    def counts(self) -> tuple[int, int]:
        """Treatment's and baseline's units."""
        return self.units

    def add(self, stratum: Stratum, value: float, *, treatment: bool) -> None:  # noqa: ARG002 - counted, not compared
        """Count one unit; any value above zero is a fault."""
        self.units = (self.units[0] + treatment, self.units[1] + (not treatment))
        self.faulted += treatment and value > 0

    def merge(self, other: MetricTest) -> None:
        """Add another process's counts."""
        theirs = like(self, other)
        self.faulted += theirs.faulted
        self.units = (self.units[0] + theirs.units[0], self.units[1] + theirs.units[1])

    def above(self, limit: float, alpha: float, *, benefit: bool) -> bool:  # noqa: ARG002 - no statistics
        """Tell whether more than `limit` treatment units had a fault."""
        return self.faulted > limit

    def below(self, limit: float, alpha: float, *, benefit: bool) -> bool:  # noqa: ARG002 - no statistics
        """Tell whether at most `limit` treatment units had a fault."""
        return self.units[0] > 0 and self.faulted <= limit

    def log_e(self, limit: float, *, above: bool) -> None:
        """Return nothing: a count decides."""

    def interval(self, alpha: float, *, benefit: bool) -> None:
        """Return nothing: a count decides."""
