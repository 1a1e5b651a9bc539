"""Tests against a value frozen early: units' values in order in, events or winsorised values for another test out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.verify.evidence import Stratum
from otel_perfopt.verify.metric_test import DifferenceTest, MeanTest, MetricTest, RatioTest, like


def quantile(values: list[float], q: float) -> float:
    """Return the quantile `q` of a non-empty list, interpolated between neighbours."""
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


# So many baseline units beyond it say that the frozen value no longer stands for the traffic.
# Frozen from few units it is only roughly the quantile it stands for, so far more than 1 or 5 % must lie beyond.
STALE_SHARE = 0.3
MIN_STALE_UNITS = 30


def join_frozen(
    mine: dict[Stratum, float], theirs: dict[Stratum, float], waiting: tuple[Collection[Stratum], Collection[Stratum]]
) -> None:
    """Take in another process's frozen values; `waiting` are the strata in which units of each still wait for one.

    Raises:
        ValueError: a value differs, or units of both are in a stratum where one of them waits: counts
            against different values do not add up.
    """
    differ = any(mine.get(stratum, value) != value for stratum, value in theirs.items())
    early = any(stratum in theirs or stratum in waiting[1] for stratum in waiting[0])
    if differ or early or any(stratum in mine for stratum in waiting[1]):
        raise ValueError("values were frozen apart, or not yet: give all processes the same opening")
    mine |= theirs


@dataclass(slots=True)
class ExceedanceTest:
    """Counts units beyond the p95 of the stage's first `freeze_units` baseline units, which are not counted.

    Both arms' units before the freeze are left out, so that given the past every later unit exceeds the
    frozen value with its arm's own probability, and the tests on events stay exact. When the baseline
    itself exceeds it too often, no benefit is claimed from it.
    """

    inner: RatioTest | DifferenceTest
    freeze_units: int
    given: float | None = None
    frozen: dict[Stratum, float] = field(default_factory=dict)
    first: dict[Stratum, list[float]] = field(default_factory=dict)

    @property
    def absolute(self) -> bool:
        """Whether effects and limits are differences."""
        return self.inner.absolute

    @property
    def counts(self) -> tuple[int, int]:
        """Treatment's and baseline's units since the freeze."""
        return self.inner.counts

    def add(self, stratum: Stratum, value: float, *, treatment: bool) -> None:
        """Count one unit, or learn the value to freeze from it."""
        frozen = self.given if self.given is not None else self.frozen.get(stratum)
        if frozen is not None:
            self.inner.add(stratum, float(value > frozen), treatment=treatment)
        elif not treatment:
            first = self.first.setdefault(stratum, [])
            first.append(value)
            if len(first) >= self.freeze_units:
                self.frozen[stratum] = quantile(self.first.pop(stratum), 0.95)

    def merge(self, other: MetricTest) -> None:
        """Add another process's counts against the same frozen values."""
        theirs = like(self, other)
        join_frozen(self.frozen, theirs.frozen, (self.first, theirs.first))
        self.first |= {stratum: list(values) for stratum, values in theirs.first.items()}
        self.inner.merge(theirs.inner)

    def above(self, limit: float, alpha: float, *, benefit: bool) -> bool:
        """Tell whether the exceedances' change lies above `limit`."""
        return not (benefit and self._stale()) and self.inner.above(limit, alpha, benefit=benefit)

    def below(self, limit: float, alpha: float, *, benefit: bool) -> bool:
        """Tell whether the exceedances' change lies below `limit`."""
        return not (benefit and self._stale()) and self.inner.below(limit, alpha, benefit=benefit)

    def log_e(self, limit: float, *, above: bool) -> float:
        """Return the evidence of the test on events."""
        return self.inner.log_e(limit, above=above)

    def interval(self, alpha: float, *, benefit: bool) -> Interval | None:
        """Return the change of the exceedances."""
        return self.inner.interval(alpha, benefit=benefit)

    def _stale(self) -> bool:
        _, exceeded, _, units = self.inner.outcomes.totals
        return units >= MIN_STALE_UNITS and exceeded > STALE_SHARE * units


@dataclass(slots=True)
class WinsorisedTest:
    """Means of values cut at the p99 of the stage's first `freeze_units` units of both arms.

    Both arms feed the frozen value and both are cut at it from the first unit on, so that neither is
    favoured when the arms do not differ. Until it is frozen nothing is said; nor where so many
    baseline units are cut that the means no longer say anything.
    """

    inner: MeanTest
    freeze_units: int
    given: float | None = None
    frozen: dict[Stratum, float] = field(default_factory=dict)
    first: dict[Stratum, list[tuple[float, bool]]] = field(default_factory=dict)
    cut: dict[Stratum, tuple[int, int]] = field(default_factory=dict)

    @property
    def absolute(self) -> bool:
        """Whether effects and limits are differences."""
        return self.inner.absolute

    @property
    def counts(self) -> tuple[int, int]:
        """Treatment's and baseline's units; none before the freeze."""
        return self.inner.counts

    def add(self, stratum: Stratum, value: float, *, treatment: bool) -> None:
        """Count one unit's winsorised value, or keep it until there is something to winsorise at."""
        frozen = self.given if self.given is not None else self.frozen.get(stratum)
        if frozen is not None:
            self._count(stratum, value, frozen, treatment=treatment)
            return
        first = self.first.setdefault(stratum, [])
        first.append((value, treatment))
        if len(first) >= self.freeze_units:
            del self.first[stratum]
            frozen = self.frozen[stratum] = quantile([kept for kept, _ in first], 0.99)
            for kept, kept_treatment in first:
                self._count(stratum, kept, frozen, treatment=kept_treatment)

    def merge(self, other: MetricTest) -> None:
        """Add another process's sums of values cut at the same frozen values."""
        theirs = like(self, other)
        join_frozen(self.frozen, theirs.frozen, (self.first, theirs.first))
        self.first |= {stratum: list(values) for stratum, values in theirs.first.items()}
        self.inner.merge(theirs.inner)
        for stratum, (cut, units) in theirs.cut.items():
            mine = self.cut.get(stratum, (0, 0))
            self._count_cut(stratum, mine[0] + cut, mine[1] + units)

    def above(self, limit: float, alpha: float, *, benefit: bool) -> bool:
        """Tell whether the means' change lies above `limit`."""
        return self.inner.above(limit, alpha, benefit=benefit)

    def below(self, limit: float, alpha: float, *, benefit: bool) -> bool:
        """Tell whether the means' change lies below `limit`."""
        return self.inner.below(limit, alpha, benefit=benefit)

    def log_e(self, limit: float, *, above: bool) -> None:
        """Return nothing: the interval is the evidence."""

    def interval(self, alpha: float, *, benefit: bool) -> Interval | None:
        """Return the change of the means."""
        return self.inner.interval(alpha, benefit=benefit)

    def _count(self, stratum: Stratum, value: float, frozen: float, *, treatment: bool) -> None:
        self.inner.add(stratum, min(value, frozen), treatment=treatment)
        if treatment:
            return
        cut, units = self.cut.get(stratum, (0, 0))
        self._count_cut(stratum, cut + (value > frozen), units + 1)

    def _count_cut(self, stratum: Stratum, cut: int, units: int) -> None:
        self.cut[stratum] = (cut, units)
        # By all that is known now, whatever order it came in: a state that merges has no past.
        if units >= MIN_STALE_UNITS and cut > STALE_SHARE * units:
            self.inner.muted.add(stratum)
        else:
            self.inner.muted.discard(stratum)
