"""What follows the load is found with its lag and strength; what only shares its memory is not."""

from __future__ import annotations

import numpy as np
import planted
import pytest

from otel_perfopt.analyse.histories import outcome_of
from otel_perfopt.analyse.load_correlation import Residual, load_correlations
from otel_perfopt.execution.model import Target
from otel_perfopt.measure.measurement import Series
from otel_perfopt.measure.series import COUNT, LATENCY_MEAN

SIZE = 1008


def residual(values, name="latency", first=0):
    seen = np.isfinite(values)
    return Residual(name, name, first, 3600.0, np.where(seen, values, 0.0), seen, 20.0)


@pytest.mark.parametrize("lag", [0, 1, 4])
def test_a_planted_tie_is_found_with_its_lag(lag):
    """Latency that follows the load after some hours: the lag, the sign and an interval that holds the truth."""
    held = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        load = planted.correlated_noise(rng, SIZE, 0.5)
        latency = 0.6 * np.roll(load, lag) + 0.8 * planted.correlated_noise(rng, SIZE, 0.5)
        (found,) = load_correlations(residual(load, "load"), [residual(latency)])
        assert found.lag_bins == lag
        assert found.lag_s == lag * 3600
        held += found.correlation.low <= 0.6 <= found.correlation.high
        assert found.relative.estimate == pytest.approx(0.6 / 20, rel=0.25)
        assert found.p_value < 0.001
    assert held >= 8


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_series_with_memory_but_no_tie_are_told_apart(rho):
    """Two hundred pairs of sets with nothing in common: at most five are said to be tied at level 1 %."""
    said = 0
    for seed in range(200):
        rng = np.random.default_rng([seed, 3])
        load, *others = (residual(planted.correlated_noise(rng, SIZE, rho), str(place)) for place in range(4))
        said += bool(load_correlations(load, others))
    assert said <= 5


def test_random_walks_are_not_judged():
    """Any two of them seem tied, so none is said to be."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        load, other = (residual(np.cumsum(rng.normal(size=SIZE)), name) for name in ("load", "latency"))
        assert load_correlations(load, [other]) == ()


def test_series_that_begin_at_different_hours_are_compared_hour_by_hour():
    """A tie is found although one series starts two days later, and although a tenth of its hours are missing."""
    rng = np.random.default_rng(5)
    load = rng.normal(size=SIZE)
    latency = 0.7 * load + 0.7 * rng.normal(size=SIZE)
    latency[rng.random(SIZE) < 0.1] = np.nan
    late = residual(latency[48:], first=48 * 3600 * 10**9)
    (found,) = load_correlations(residual(load, "load"), [late])
    assert found.lag_bins == 0
    assert found.correlation.estimate == pytest.approx(0.7, abs=0.1)


def test_a_common_rhythm_is_no_tie():
    """Load and latency that both peak every afternoon, and have nothing else in common, do not follow one another."""
    said = 0
    hours = np.arange(SIZE)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = {
            metric: 20 + 4 * np.sin(2 * np.pi * hours / 24) + planted.correlated_noise(rng, SIZE, 0.4)
            for metric in (COUNT, LATENCY_MEAN)
        }
        asked = [
            (Series(metric, Target(), planted.MONDAY_NS, 3600.0, tuple(map(float, series))), metric, "1")
            for metric, series in values.items()
        ]
        said += bool(outcome_of(asked).correlations)
    assert said <= 1


def test_little_data_says_nothing():
    """Below four days there is no claim."""
    load = np.random.default_rng(0).normal(size=90)
    assert load_correlations(residual(load, "load"), [residual(load)]) == ()
