"""Values by metric and attributes in, OpenTelemetry metrics out; the number of series is bounded here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    Metric,
    NumberDataPoint,
    Sum,
)

from otel_perfopt import conventions as c
from otel_perfopt.measure.meter_histogram import ExponentialCounts, Sampled

MAX_SERIES: Final = 500
MAX_VALUE_CHARS: Final = 128

Name = tuple[str, str]  # name and unit
Labels = tuple[tuple[str, str], ...]
_OVERFLOW: Final[Labels] = ((c.METRIC_OVERFLOW, "true"),)
V = TypeVar("V")


class MeterSeries:
    """Histograms and sums by metric; a metric's series beyond `limit` are counted together (`otel.metric.overflow`)."""

    def __init__(self, limit: int = MAX_SERIES) -> None:
        self._limit = limit
        self._histograms: dict[Name, dict[Labels, ExponentialCounts]] = {}
        self._sums: dict[Name, dict[Labels, list[float]]] = {}

    def histogram(self, name: Name, labels: Labels) -> ExponentialCounts:
        """Return where a distribution is counted, for whoever counts many values of it."""
        try:
            return self._histograms[name][labels]
        except KeyError:
            return self._series(self._histograms, name, labels, ExponentialCounts)

    def total(self, name: Name, labels: Labels) -> list[float]:
        """Return where a sum is kept, the only item of a list."""
        try:
            return self._sums[name][labels]
        except KeyError:
            return self._series(self._sums, name, labels, lambda: [0.0])

    def record(self, name: Name, labels: Labels, value: float, span: Sampled | None = None) -> None:
        """Count a value of a distribution, of a span that can be looked up."""
        self.histogram(name, labels).add(value, span)

    def add(self, name: Name, labels: Labels, value: float) -> None:
        """Add to a sum."""
        self.total(name, labels)[0] += value

    def set_total(self, name: Name, labels: Labels, value: float) -> None:
        """Set a sum that is counted elsewhere."""
        self.total(name, labels)[0] = value

    def metrics(self, start_ns: int, now_ns: int, previous: MeterState | None) -> list[Metric]:
        """Return everything as metrics: since `start_ns`, or since the `previous` state, which is brought up to date."""
        temporality = AggregationTemporality.CUMULATIVE if previous is None else AggregationTemporality.DELTA
        return [
            *self._histogram_metrics(start_ns, now_ns, previous, temporality),
            *self._sum_metrics(start_ns, now_ns, previous, temporality),
        ]

    def _series(self, table: dict[Name, dict[Labels, V]], name: Name, labels: Labels, new: Callable[[], V]) -> V:
        series = table.get(name)
        if series is None:
            series = table[name] = {}
        found = series.get(labels)
        if found is None:
            if len(series) >= self._limit:
                labels = _OVERFLOW
                found = series.get(labels)
                if found is not None:
                    return found
            found = series[labels] = new()
        return found

    def _histogram_metrics(
        self, start_ns: int, now_ns: int, previous: MeterState | None, temporality: AggregationTemporality
    ) -> Iterator[Metric]:
        for (name, unit), series in self._histograms.items():
            points = []
            for labels, counts in series.items():
                given = counts
                if previous is not None:
                    given = counts.since(previous.histograms.get((name, labels)) or ExponentialCounts())
                    previous.histograms[name, labels] = counts.copy()
                    if not given.count:
                        continue
                points.append(given.data_point(_attributes(labels), start_ns, now_ns, counts.take_exemplars()))
            if points:
                yield Metric(name, "", unit, ExponentialHistogram(points, temporality))

    def _sum_metrics(
        self, start_ns: int, now_ns: int, previous: MeterState | None, temporality: AggregationTemporality
    ) -> Iterator[Metric]:
        for (name, unit), series in self._sums.items():
            points = []
            for labels, (total,) in series.items():
                value = total
                if previous is not None:
                    value = total - previous.sums.get((name, labels), 0.0)
                    previous.sums[name, labels] = total
                    if not value:
                        continue
                number: Any = int(value) if unit.startswith("{") else value
                points.append(NumberDataPoint(_attributes(labels), start_ns, now_ns, number))
            if points:
                yield Metric(name, "", unit, Sum(points, temporality, is_monotonic=True))


class MeterState:
    """What a reader of differences has been given so far."""

    __slots__ = ("histograms", "sums", "time_ns")

    def __init__(self, time_ns: int) -> None:
        self.time_ns = time_ns
        self.histograms: dict[tuple[str, Labels], ExponentialCounts] = {}
        self.sums: dict[tuple[str, Labels], float] = {}


def _attributes(labels: Labels) -> dict[str, str | bool]:
    if labels is _OVERFLOW or labels == _OVERFLOW:
        return {c.METRIC_OVERFLOW: True}
    return dict(labels)


def label(value: object) -> str:
    """Return an attribute value as a label: text, of bounded length."""
    return value[:MAX_VALUE_CHARS] if isinstance(value, str) else str(value)[:MAX_VALUE_CHARS]
