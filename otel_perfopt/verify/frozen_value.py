"""Tests against a value frozen early: units' values in order in, events or winsorised values for another test out."""

from __future__ import annotations

from dataclasses import dataclass, field

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.verify.evidence import Stratum
from otel_perfopt.verify.metric_test import DifferenceTest, MeanTest, RatioTest


def quantile(values: list[float], q: float) -> float:
    """Return the quantile `q` of a non-empty list, interpolated between neighbours."""
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


@dataclass(slots=True)
class ExceedanceTest:
    """Counts units beyond the p95 of the first `freeze_units` baseline units, which themselves are not counted.

    Both arms' units before the freeze are left out, so that given the past every later unit exceeds the
    frozen value with its arm's own probability, and the tests on events stay exact.
    """

    inner: RatioTest | DifferenceTest
    freeze_units: int
    frozen: float | None = None
    first: list[float] = field(default_factory=list)

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
        if self.frozen is not None:
            self.inner.add(stratum, float(value > self.frozen), treatment=treatment)
        elif not treatment:
            self.first.append(value)
            if len(self.first) >= self.freeze_units:
                self.frozen = quantile(self.first, 0.95)
                self.first.clear()

    def above(self, limit: float, alpha: float, *, benefit: bool) -> bool:
        """Tell whether the exceedances' change lies above `limit`."""
        return self.inner.above(limit, alpha, benefit=benefit)

    def below(self, limit: float, alpha: float, *, benefit: bool) -> bool:
        """Tell whether the exceedances' change lies below `limit`."""
        return self.inner.below(limit, alpha, benefit=benefit)

    def log_e(self, limit: float, *, above: bool) -> float:
        """Return the evidence of the test on events."""
        return self.inner.log_e(limit, above=above)

    def interval(self, alpha: float, *, benefit: bool) -> Interval | None:
        """Return the change of the exceedances."""
        return self.inner.interval(alpha, benefit=benefit)


@dataclass(slots=True)
class WinsorisedTest:
    """Means of values cut at the p99 of the first `freeze_units` units of both arms.

    Both arms feed the frozen value and both are cut at it from the first unit on, so that neither is
    favoured when the arms do not differ. Until it is frozen nothing is said.
    """

    inner: MeanTest
    freeze_units: int
    frozen: float | None = None
    first: list[tuple[Stratum, float, bool]] = field(default_factory=list)

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
        if self.frozen is not None:
            self.inner.add(stratum, min(value, self.frozen), treatment=treatment)
            return
        self.first.append((stratum, value, treatment))
        if len(self.first) < self.freeze_units:
            return
        self.frozen = quantile([kept for _, kept, _ in self.first], 0.99)
        for kept_stratum, kept, kept_treatment in self.first:
            self.inner.add(kept_stratum, min(kept, self.frozen), treatment=kept_treatment)
        self.first.clear()

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
