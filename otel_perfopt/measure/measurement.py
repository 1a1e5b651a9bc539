"""The types room 3 hands on: additive statistics and regular series."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from otel_perfopt.execution.model import Target
from otel_perfopt.measure.sketch import QuantileSketch


@dataclass(slots=True)
class Measurement:
    """Sufficient statistics of one metric for one target; two of them merge by addition.

    What is no finite number is not counted.
    """

    count: int = 0
    total: float = 0.0
    total_squares: float = 0.0
    sketch: QuantileSketch = field(default_factory=QuantileSketch)

    def add(self, value: float) -> None:
        """Count one observation."""
        if not math.isfinite(value):
            return
        self.count += 1
        self.total += value
        self.total_squares += value * value
        self.sketch.add(value)

    def merge(self, other: Measurement) -> None:
        """Add another measurement of the same metric and target."""
        self.count += other.count
        self.total += other.total
        self.total_squares += other.total_squares
        self.sketch.merge(other.sketch)

    @property
    def mean(self) -> float | None:
        """The arithmetic mean; None without observations."""
        return self.total / self.count if self.count else None

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation; None below two observations."""
        if self.count < 2:
            return None
        variance = (self.total_squares - self.total**2 / self.count) / (self.count - 1)
        return math.sqrt(max(0.0, variance))

    def quantile(self, q: float) -> float | None:
        """The value at quantile `q`, within 1 %; None without observations."""
        return self.sketch.quantile(q)


@dataclass(frozen=True, slots=True)
class Series:
    """A regular time series: one value a bin of `step_s` seconds from `start_ns`; None marks a gap."""

    metric: str
    target: Target
    start_ns: int
    step_s: float
    values: tuple[float | None, ...]
