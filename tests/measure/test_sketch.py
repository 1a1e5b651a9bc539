"""The quantile sketch and the additive statistics around it."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.measure.measurement import Measurement
from otel_perfopt.measure.sketch import QuantileSketch

VALUES = st.floats(1e-9, 1e15)
MIXED = st.one_of(VALUES, st.just(0.0), st.floats(-1e9, 0.0))


def sketch_of(values):
    sketch = QuantileSketch()
    for value in values:
        sketch.add(value)
    return sketch


@given(st.lists(VALUES, min_size=1), st.floats(0, 1))
def test_quantiles_are_within_one_percent(values, q):
    """The answer is within 1 % of the true lower quantile."""
    true = sorted(values)[math.floor(q * (len(values) - 1))]
    assert sketch_of(values).quantile(q) == pytest.approx(true, rel=0.01)


@given(st.lists(MIXED), st.lists(MIXED))
def test_merging_is_adding(left, right):
    """Two sketches merged are the sketch of all values, in either order."""
    both, swapped = sketch_of(left), sketch_of(right)
    both.merge(sketch_of(right))
    swapped.merge(sketch_of(left))
    assert both == swapped == sketch_of(left + right)
    assert both.count == len(left) + len(right)


@given(st.lists(MIXED, min_size=1), st.lists(st.floats(0, 1), max_size=5))
def test_many_quantiles_are_each_quantile(values, qs):
    """One pass for several quantiles gives what asking for each does, in ascending order."""
    sketch = sketch_of(values)
    asked = sorted(qs)
    found = sketch.quantiles(asked)
    assert found == tuple(sketch.quantile(q) for q in asked)
    assert list(found) == sorted(found)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True)))
def test_any_float_is_survived_in_bounded_memory(values):
    """What is no number is not counted, and the rest lands in at most 3,141 buckets."""
    sketch = sketch_of(values)
    assert sketch.count == sum(not math.isnan(value) for value in values)
    assert all(-1047 <= bucket <= 2094 for bucket in sketch.buckets)
    assert sketch.quantile(0.5) is None or math.isfinite(sketch.quantile(0.5))


def test_an_empty_sketch_says_nothing():
    """No data is None, never zero; and zeros read back as zero."""
    assert QuantileSketch().quantile(0.5) is None
    assert QuantileSketch().quantiles((0.1, 0.9)) == (None, None)
    assert sketch_of([0.0, -3.0, 5.0]).quantile(0.5) == 0.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=2), st.lists(st.floats(-1e6, 1e6)))
def test_measurements_merge_to_the_statistics_of_all(left, right):
    """Count, mean and deviation after a merge are those of the two lists together."""
    first, second = Measurement(), Measurement()
    for value in left:
        first.add(value)
    for value in right:
        second.add(value)
    first.merge(second)
    assert first.count == len(left + right)
    assert first.mean == pytest.approx(statistics.fmean(left + right), abs=1e-6)
    assert first.deviation == pytest.approx(statistics.stdev(left + right), rel=1e-6, abs=2.0)


def test_a_measurement_counts_only_finite_numbers():
    """One broken value does not spoil a mean; one value has no deviation."""
    measurement = Measurement()
    for value in (math.nan, math.inf, 2.0):
        measurement.add(value)
    assert (measurement.count, measurement.mean, measurement.deviation) == (1, 2.0, None)
    assert Measurement().mean is None
