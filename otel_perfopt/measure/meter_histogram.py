"""Positive numbers in, an OTLP exponential histogram out, whose buckets are added up at almost no cost."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.sdk.metrics._internal.exemplar import Exemplar
from opentelemetry.sdk.metrics.export import Buckets, ExponentialHistogramDataPoint
from opentelemetry.trace import SpanContext

# Buckets of base 2^(1/32): a quantile is off by 1.1 % at most.
SCALE: Final = 5
MAX_BUCKETS: Final = 160  # as the SDK's own aggregation
_PER_DOUBLING: Final = 1 << SCALE

# When a span ended (Unix ns), and which it is; made an exemplar only when somebody collects.
Sampled = tuple[int, SpanContext]
Sample = tuple[float, Sampled]


@dataclass(slots=True)
class ExponentialCounts:
    """Counts by bucket (index i holds values in (2^(i/32), 2^((i+1)/32)]), with zeros, sum, least and most.

    OpenTelemetry's data model, https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram.
    Two exemplars are kept: the last value, and the greatest since the exemplars were last taken.
    """

    buckets: Counter[int] = field(default_factory=Counter)
    zeros: int = 0
    sum: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    last: Sample | None = None
    greatest: Sample | None = None

    def add(self, value: float, span: Sampled | None = None) -> None:
        """Count one value of `span`; negative ones count as zero, what is no number is left out."""
        if value > 0:
            if value == math.inf:
                return
            bucket = math.ceil(math.log2(value) * _PER_DOUBLING) - 1
            self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        elif value <= 0:
            value = 0.0
            self.zeros += 1
        else:
            return
        self.sum += value
        if value < self.least:  # noqa: PLR1730 - a third of what `min` costs, for every span
            self.least = value
        if value > self.most:  # noqa: PLR1730 - as above
            self.most = value
        if span is not None:
            self.last = sample = (value, span)
            if self.greatest is None or value >= self.greatest[0]:
                self.greatest = sample

    def copy(self) -> ExponentialCounts:
        """Return the counts as they are now, without exemplars."""
        return ExponentialCounts(Counter(self.buckets), self.zeros, self.sum, self.least, self.most)

    def since(self, before: ExponentialCounts) -> ExponentialCounts:
        """Return what was added after `before` was copied; its extremes are those of its buckets."""
        buckets = Counter({index: n for index, n in (self.buckets - before.buckets).items() if n > 0})
        zeros = self.zeros - before.zeros
        most = min(self.most, 2 ** ((max(buckets) + 1) / _PER_DOUBLING)) if buckets else 0.0
        least = max(self.least, 2 ** (min(buckets) / _PER_DOUBLING)) if buckets and not zeros else 0.0
        return ExponentialCounts(buckets, zeros, self.sum - before.sum, min(least, most), most)

    @property
    def count(self) -> int:
        """How many values were counted."""
        return self.zeros + sum(self.buckets.values())

    def take_exemplars(self) -> list[Exemplar]:
        """Return the exemplars, and begin to look for new ones."""
        found = [self.last] if self.last is not None else []
        if self.greatest is not None and self.greatest is not self.last:
            found.append(self.greatest)
        self.last = self.greatest = None
        return [Exemplar({}, value, end_ns, context.span_id, context.trace_id) for value, (end_ns, context) in found]

    def data_point(
        self, attributes: dict[str, str | bool], start_ns: int, now_ns: int, exemplars: list[Exemplar]
    ) -> ExponentialHistogramDataPoint:
        """Return the data point; where values span very much, neighbouring buckets are put together."""
        shift = 0
        if self.buckets:
            low, high = min(self.buckets), max(self.buckets)
            while (high >> shift) - (low >> shift) >= MAX_BUCKETS:
                shift += 1
            offset = low >> shift
            dense = [0] * ((high >> shift) - offset + 1)
            for index, n in self.buckets.items():
                dense[(index >> shift) - offset] += n
            positive = Buckets(offset, dense)
        else:
            positive = Buckets(0, [])
        count = self.count
        return ExponentialHistogramDataPoint(
            attributes=attributes,
            start_time_unix_nano=start_ns,
            time_unix_nano=now_ns,
            count=count,
            sum=self.sum,
            scale=SCALE - shift,
            zero_count=self.zeros,
            positive=positive,
            negative=Buckets(0, []),
            flags=0,
            min=self.least if count else 0.0,
            max=self.most if count else 0.0,
            exemplars=exemplars,
        )
