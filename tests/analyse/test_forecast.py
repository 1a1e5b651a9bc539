"""Forecasts are no worse than seasonal-naive, hold what they promise, and show the peaks that come."""

from __future__ import annotations

import numpy as np
import planted
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_perfopt.analyse.decomposition import history_of, with_outlook
from otel_perfopt.analyse.forecast import forecast_of
from otel_perfopt.analyse.forecasters import FORECASTERS, seasonal_naive
from otel_perfopt.analyse.gaps import fill
from otel_perfopt.analyse.history import Forecast, NotEnoughHistory
from otel_perfopt.analyse.rolling_origin import BASELINE, Trials, trials_of

HOURS = np.arange(1008)
DAILY = np.sin(2 * np.pi * (HOURS - 9) / 24)  # highest at 15:00


def filled(values):
    return fill(planted.hourly(np.asarray(values, dtype=float)))


@pytest.mark.parametrize("name", list(FORECASTERS))
def test_every_forecaster_repeats_what_repeats(name):
    """On a perfect season every forecaster that knows of seasons says the next cycle to a hundredth."""
    past = 10 + DAILY[: 14 * 24]
    said = FORECASTERS[name](past, 24, 48)
    if name == "recent_level":
        assert said == pytest.approx(10, abs=0.2)
    else:
        assert said == pytest.approx(10 + DAILY[:48], abs=0.01)


def test_what_comes_lies_in_the_interval_as_often_as_promised():
    """Over forty series of a season and correlated noise, 90 % intervals hold 85 to 97 % of the next two days."""
    held = []
    for seed in range(40):
        values = 20 + 3 * DAILY + planted.correlated_noise(np.random.default_rng(seed), 1008, 0.5)
        said = forecast_of(filled(values[:700]), 24, 48, slow=False)
        truth = values[700:748]
        held.append(np.mean((truth >= said.low) & (truth <= said.high)))
    assert 0.85 <= np.mean(held) <= 0.97


def test_a_forecast_is_better_than_the_last_cycle_where_that_is_noise():
    """Where each day is the same but for noise, the average of days beats the last one by a sixth and more."""
    ratios = []
    for seed in range(10):
        values = 20 + 3 * DAILY + np.random.default_rng(seed).normal(size=1008)
        said = forecast_of(filled(values[:700]), 24, 24, slow=False)
        own = np.mean(np.abs(values[700:724] - said.expected))
        ratios.append(own / np.mean(np.abs(values[700:724] - seasonal_naive(values[:700], 24, 24))))
        assert said.to_naive < 0.9
    assert np.mean(ratios) < 0.85


def test_nothing_is_gained_on_a_random_walk_and_nothing_lost():
    """Where the last cycle is as good as anything, the forecast is within a few per cent of it."""
    own, naive = 0.0, 0.0
    for seed in range(20):
        values = 500 + 5 * np.tile(DAILY[:24], 42) + np.cumsum(np.random.default_rng(seed).normal(size=1008))
        said = forecast_of(filled(values[:700]), 24, 24, slow=False)
        own += float(np.mean(np.abs(values[700:724] - said.expected)))
        naive += float(np.mean(np.abs(values[700:724] - seasonal_naive(values[:700], 24, 24))))
    assert own <= 1.02 * naive


def test_a_lead_that_is_no_surer_than_its_error_is_not_followed():
    """A forecaster half of whose trials are better and half worse has no weight; one always better has most of it."""
    rng = np.random.default_rng(0)
    base = 1 + 0.1 * rng.random((12, 24))
    wavering = np.where(np.arange(12)[:, None] % 2 == 0, 0.4, 1.5) * base
    trials = Trials(np.arange(12) * 24, 24, {BASELINE: base, "wavering": wavering})
    assert trials.best() == (BASELINE, 0.0)
    trials = Trials(np.arange(12) * 24, 24, {BASELINE: base, "better": 0.6 * base, "wavering": wavering})
    assert trials.best() == ("better", 0.75)


def test_trials_know_only_what_was_before_them():
    """A jump after the last origin changes no forecast made before it, only its error."""
    values = 20 + DAILY[:400]
    jumped = values.copy()
    jumped[380:] += 100
    calm, wild = (trials_of(filled(series), 24, 24, slow=False) for series in (values, jumped))
    for row, origin in enumerate(calm.origins):
        before = slice(0, max(0, min(24, 380 - origin)))
        assert np.array_equal(calm.errors["blend"][row, before], wild.errors["blend"][row, before])


@pytest.mark.parametrize("hours", [0, 10, 47, 75])
def test_a_short_history_says_what_it_needs(hours):
    """Below two cycles and the horizon there is a reason and no forecast."""
    said = forecast_of(filled(np.ones(hours)), 24, 24)
    assert isinstance(said, NotEnoughHistory)
    assert said.needs > hours


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 1e9)), min_size=80, max_size=200))
def test_any_history_is_forecast_or_refused(values):
    """Whatever the values and gaps: finite numbers in order, none below zero where none ever was, or a reason."""
    said = forecast_of(filled([np.nan if value is None else value for value in values]), 24, 24, slow=False)
    if isinstance(said, Forecast):
        low, expected, high = np.array(said.low), np.array(said.expected), np.array(said.high)
        assert np.isfinite(low).all()
        assert np.isfinite(high).all()
        assert (low <= expected).all()
        assert (expected <= high).all()
        assert (low >= 0).all()
        assert len(expected) == 24


def outlook(values):
    series = planted.hourly(np.asarray(values, dtype=float))
    return with_outlook(history_of(series, "load", "{run}"))


def test_the_next_peak_is_told_with_its_hours_and_height():
    """A daily wave that peaks at 15:00 and half above its level: the window is the hours above half of it."""
    rng = np.random.default_rng(1)
    found = outlook(20 + 10 * DAILY[: 28 * 24 + 10] + rng.normal(0, 1, 28 * 24 + 10))
    peak = next(window for window in found.coming if window.kind == "peak")
    day = planted.MONDAY_NS + 28 * 24 * 3600 * planted.SECOND
    start, end = ((moment - day) / (3600 * planted.SECOND) for moment in (peak.start_ns, peak.end_ns))
    assert 10 <= start <= 12
    assert 19 <= end <= 21
    assert peak.relative.low < 0.43 < peak.relative.high
    assert peak.relative.low > 0.2
    assert peak.cycles == 8
    trough = next(window for window in found.coming if window.kind == "trough")
    assert trough.relative.high < 0
    assert trough.end_ns <= peak.start_ns or trough.start_ns >= peak.end_ns


def test_a_peak_that_has_begun_is_still_told():
    """In the middle of the high hours the present window is the first, and it began in the past."""
    rng = np.random.default_rng(2)
    size = 28 * 24 + 15
    found = outlook(20 + 10 * DAILY[:size] + rng.normal(0, 1, size))
    peak = next(window for window in found.coming if window.kind == "peak")
    now_ns = planted.MONDAY_NS + size * 3600 * planted.SECOND
    assert peak.start_ns < now_ns < peak.end_ns


def test_weekends_without_a_peak_are_no_windows():
    """Where only working days have a high, the windows of the coming week are on working days."""
    rng = np.random.default_rng(3)
    working = (HOURS % 168) < 120
    found = outlook(20 + 10 * np.maximum(DAILY, 0) * working + rng.normal(0, 0.7, 1008))
    peaks = [window for window in found.coming if window.kind == "peak"]
    days = {(window.start_ns - planted.MONDAY_NS) // (86_400 * planted.SECOND) % 7 for window in peaks}
    assert days == {0, 1, 2, 3, 4}


def test_noise_has_no_peaks_to_come():
    """Without a season there is a forecast but no window."""
    found = outlook(20 + np.random.default_rng(4).normal(size=500))
    assert isinstance(found.forecast, Forecast)
    assert found.coming == ()
