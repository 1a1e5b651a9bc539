"""Seasons, trends and shifts are found where they were planted, with their size, and not in noise."""

from __future__ import annotations

import numpy as np
import planted
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_perfopt.analyse.change_point import change_points_of
from otel_perfopt.analyse.decomposition import history_of
from otel_perfopt.analyse.gaps import fill
from otel_perfopt.analyse.history import NotEnoughHistory, Season, Trend
from otel_perfopt.analyse.season import season_of, split_half_r2

WEEKS_6 = 1008
HOURS = np.arange(WEEKS_6)
DAILY = np.sin(2 * np.pi * (HOURS - 8) / 24)
WEEKLY = np.where(HOURS % 168 < 120, 1.0, -2.5)


def history(values, alpha=0.05):
    return history_of(planted.hourly(values), "latency", "s", alpha=alpha)


def claims(found):
    """What a report would say of a history."""
    seasonal = isinstance(found.season, Season) and bool(found.season.periods)
    trend = isinstance(found.trend, Trend) and found.trend.significant
    return [seasonal, trend, bool(found.change_points) and isinstance(found.change_points, tuple)]


def test_a_daily_season_is_found_with_its_strength_and_peak():
    """A sine of variance 1/2 over noise of variance 1/2 has strength 1/2 and peaks at 14:00 UTC."""
    rng = np.random.default_rng(1)
    season = season_of(planted.hourly(10 + DAILY + rng.normal(0, np.sqrt(0.5), WEEKS_6)))
    (period,) = season.periods
    assert period.name == "daily"
    assert period.strength == pytest.approx(0.5, abs=0.07)
    assert abs(period.peak_bin - 14) <= 2
    assert period.peak_relative == pytest.approx(0.1, abs=0.03)
    assert np.corrcoef(season.seasonal, DAILY)[0, 1] > 0.97


def test_daily_and_weekly_seasons_are_told_apart():
    """Both periods are found, and each with its own profile."""
    rng = np.random.default_rng(2)
    season = season_of(planted.hourly(20 + DAILY + WEEKLY + rng.normal(0, 0.7, WEEKS_6)))
    assert [period.name for period in season.periods] == ["daily", "weekly"]
    assert np.corrcoef(season.seasonal, DAILY + WEEKLY)[0, 1] > 0.95


def test_a_period_that_nobody_expected_is_found():
    """A job every ten hours shows as a period of ten hours."""
    rng = np.random.default_rng(3)
    season = season_of(planted.hourly(5 + 1.5 * (HOURS % 10 == 0) + rng.normal(0, 0.3, WEEKS_6)))
    assert 10 in [period.bins for period in season.periods]


def test_a_trend_is_found_with_its_slope():
    """A rise of 0.05 a day under a daily season and correlated noise: the interval holds it in 19 of 20 cases."""
    held = significant = 0
    for seed in range(20):
        noise = planted.correlated_noise(np.random.default_rng(seed), WEEKS_6, 0.6)
        found = history(10 + 0.05 * HOURS / 24 + DAILY + noise * 0.5)
        assert isinstance(found.trend, Trend)
        held += found.trend.slope_per_day.low <= 0.05 <= found.trend.slope_per_day.high
        significant += found.trend.significant
        assert found.change_points == ()
    assert held >= 17
    assert significant == 20


def test_a_lasting_shift_is_found_with_its_date_and_size():
    """A shift of 1.5 noise deviations at hour 600, with a season around it, and no trend beside it."""
    for seed in range(10):
        noise = planted.correlated_noise(np.random.default_rng(seed), WEEKS_6, 0.3)
        found = history(10 + 1.5 * (HOURS >= 600) + DAILY + noise)
        (change,) = found.change_points
        assert abs(change.bin - 600) <= 8
        assert change.shift.low - 0.2 <= 1.5 <= change.shift.high + 0.2
        assert change.relative.estimate == pytest.approx(0.15, abs=0.04)
        assert change.time_ns == planted.MONDAY_NS + change.bin * 3600 * planted.SECOND


@pytest.mark.parametrize("gaps", ["scattered", "blocks"])
def test_gaps_hurt_nothing(gaps):
    """With a tenth of the hours missing, season, trend and shift are still told."""
    rng = np.random.default_rng(4)
    values = 10 + 2 * (HOURS >= 500) + DAILY + rng.normal(0, 0.5, WEEKS_6)
    if gaps == "scattered":
        values[rng.random(WEEKS_6) < 0.1] = np.nan
    else:
        for start in (100, 300, 700):
            values[start : start + 33] = np.nan
    found = history(values)
    assert [period.name for period in found.season.periods] == ["daily"]
    (change,) = found.change_points
    assert abs(change.bin - 500) <= 6
    assert not found.trend.significant


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("white", lambda rng, size: rng.normal(size=size)),
        ("correlated", lambda rng, size: planted.correlated_noise(rng, size, 0.6)),
        ("skewed", lambda rng, size: rng.lognormal(0, 1, size)),
        ("counts", lambda rng, size: rng.poisson(2.0, size)),
    ],
)
@pytest.mark.parametrize("size", [96, 336])
def test_noise_yields_at_most_five_per_cent_of_reports_with_a_claim(name, make, size):
    """Sixty reports over noise at level 5 %: no more claims than chance allows (six is the 95 % limit for three)."""
    claimed = [any(claims(history(10 + make(np.random.default_rng(seed), size)))) for seed in range(60)]
    assert sum(claimed) <= 6, f"{name}: {sum(claimed)} of 60"


def test_random_walks_yield_no_claim():
    """A series without a level has no season, trend or shift to speak of."""
    claimed = [any(claims(history(np.cumsum(np.random.default_rng(seed).normal(size=336))))) for seed in range(40)]
    assert sum(claimed) <= 4


@pytest.mark.parametrize("hours", [0, 1, 10, 30])
def test_short_histories_say_why(hours):
    """Below two days every part is a reason in words, never a number."""
    found = history(np.ones(hours))
    for part in (found.season, found.trend, found.change_points):
        assert isinstance(part, NotEnoughHistory)
        assert part.reason


def test_a_sparse_history_says_why():
    """Six weeks with data in one hour of twenty are not enough for a season, and the reason counts them."""
    values = np.full(WEEKS_6, np.nan)
    values[::20] = 1.0
    season = history(values).season
    assert isinstance(season, NotEnoughHistory)
    assert "51 of 1008 hours" in season.reason


def test_constant_series_have_nothing_to_find():
    """No variance, no claim, no division by zero."""
    assert claims(history(np.full(400, 3.0))) == [False, False, False]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.floats(min_value=-1e6, max_value=1e6, allow_nan=False)), min_size=0, max_size=120)
)
def test_any_series_is_taken_apart_without_an_exception(values):
    """Whatever the gaps and values, every part is a result or a reason; filling keeps what was observed."""
    series = planted.hourly(np.array([np.nan if value is None else value for value in values], dtype=float))
    filled = fill(series)
    kept = [value for value, seen in zip(filled.values, filled.observed, strict=True) if seen]
    assert kept == [value for value in values if value is not None]
    assert np.isfinite(filled.values).all()
    history_of(series, "any", "s")


def test_short_gaps_are_filled_by_a_line_and_long_ones_by_the_same_hour():
    """Two missing hours between 1 and 4 become 2 and 3; a missing day takes the other days' values."""
    values = np.tile(np.arange(24.0), 14)
    values[30:54] = np.nan
    values[101:103] = np.nan
    filled = fill(planted.hourly(values)).values
    assert list(filled[30:54]) == [float(hour) for hour in (*range(6, 24), *range(6))]
    assert list(filled[101:103]) == [5.0, 6.0]


def test_the_two_halves_of_noise_do_not_predict_each_other():
    """The split-half score of a perfect repeat is 1, that of noise below zero."""
    perfect = fill(planted.hourly(np.tile(np.arange(24.0), 14)))
    assert split_half_r2(perfect, 24) > 0.99
    noise = fill(planted.hourly(np.random.default_rng(0).normal(size=336)))
    assert split_half_r2(noise, 24) < 0.05


def test_the_level_asked_for_decides_what_is_claimed():
    """A weak shift is claimed more often at level 0.2 than at 0.0001."""
    shift = 0.55 * (np.arange(200) >= 100)
    series = [fill(planted.hourly(shift + np.random.default_rng(seed).normal(size=200))) for seed in range(40)]
    loose, strict = (
        sum(bool(change_points_of(one, np.zeros(200), alpha=alpha)) for one in series) for alpha in (0.2, 0.0001)
    )
    assert loose > strict
