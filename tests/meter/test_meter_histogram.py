from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from otel_perfopt.measure.meter_histogram import MAX_BUCKETS, SCALE, ExponentialCounts

VALUES = st.lists(st.floats(min_value=1e-9, max_value=1e12), min_size=1, max_size=60)


def counted(values):
    counts = ExponentialCounts()
    for value in values:
        counts.add(value)
    return counts


def point_of(counts):
    return counts.data_point({}, 1, 2, [])


@given(VALUES)
def test_every_value_is_in_its_bucket(values):
    """Bucket i of scale s holds what is above base**i and at most base**(i+1), base = 2**(2**-s)."""
    point = point_of(counted(values))
    assert point.count == len(values) == sum(point.positive.bucket_counts)
    assert len(point.positive.bucket_counts) <= MAX_BUCKETS
    per_doubling = 2**point.scale
    for value in values:
        index = math.ceil(math.log2(value) * per_doubling) - 1
        assert point.positive.bucket_counts[index - point.positive.offset] > 0
    assert (point.min, point.max) == (min(values), max(values))
    assert point.sum == pytest.approx(math.fsum(values))


def test_the_sdk_puts_the_same_values_into_the_same_buckets():
    """Against the SDK's own exponential histogram of the same scale, bucket by bucket."""
    values = np.random.default_rng(1).lognormal(0, 0.4, 5000).tolist()
    reader = InMemoryMetricReader()
    view = View(instrument_name="x", aggregation=ExponentialBucketHistogramAggregation(MAX_BUCKETS, SCALE))
    provider = MeterProvider([reader], views=[view], shutdown_on_exit=False)
    histogram = provider.get_meter("m").create_histogram("x")
    for value in values:
        histogram.record(value)
    (theirs,) = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    ours = point_of(counted(values))
    assert (ours.scale, ours.count, ours.min, ours.max) == (theirs.scale, theirs.count, theirs.min, theirs.max)
    assert ours.sum == pytest.approx(theirs.sum)
    assert dense(ours) == dense(theirs)
    provider.shutdown()


def dense(point):
    return {point.positive.offset + at: n for at, n in enumerate(point.positive.bucket_counts) if n}


@given(VALUES, VALUES)
def test_differences_are_what_was_added(first, second):
    """Counts since a copy are those of the values that came after it."""
    counts = counted(first)
    before = counts.copy()
    for value in second:
        counts.add(value)
    since = counts.since(before)
    assert since.buckets == counted(second).buckets
    assert since.least <= min(second) * (1 + 1e-9)
    assert since.most >= max(second) * (1 - 1e-9)


def test_odd_values():
    """Zero and below count as zero; what is no number, or no end, is left out."""
    counts = counted([0.0, -1.0, math.nan, math.inf, 1.0])
    point = point_of(counts)
    assert (point.count, point.zero_count, point.sum) == (3, 2, 1.0)
    assert point_of(ExponentialCounts()).count == 0
