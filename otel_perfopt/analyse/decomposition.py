"""Takes a series apart: a `Series` in, its `History` (season, lasting shifts, trend, alarms, forecast) out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from otel_perfopt.analyse.change_point import change_points_of, levels_of
from otel_perfopt.analyse.forecast import forecast_of
from otel_perfopt.analyse.gaps import FilledValues, Values, fill
from otel_perfopt.analyse.history import ComingWindow, Forecast, History, NotEnoughHistory, Season, Trend
from otel_perfopt.analyse.load_correlation import Residual
from otel_perfopt.analyse.residual_alarm import alarms_of
from otel_perfopt.analyse.season import DAY_S, season_of
from otel_perfopt.analyse.seasonal_peak import coming_windows
from otel_perfopt.analyse.trend import trend_of
from otel_perfopt.measure.measurement import Series

# Season, change points, trend and alarms are asked of every series: each gets a quarter of its level.
QUESTIONS = 4
FORECAST_DAYS = 2
MIN_FORECAST_CYCLES = 3


def history_of(series: Series, name: str, unit: str, *, alpha: float = 0.05) -> History:
    """Return what `series` did over time; at most `alpha` of series without structure yield any claim.

    The season goes out first, then lasting shifts, and what is left is judged for a trend.
    """
    level = alpha / QUESTIONS
    season = season_of(series, alpha=level)
    filled = fill(series)
    seasonal = _seasonal(season, filled.values.size)
    changes = change_points_of(filled, seasonal, alpha=level)
    shifts = levels_of(filled, changes) if isinstance(changes, tuple) else np.zeros(filled.values.size)
    trend = trend_of(filled, seasonal + shifts, alpha=level)
    return History(name, unit, series, season, trend, changes)


def with_outlook(history: History, *, alpha: float = 0.05) -> History:
    """Add what is not as it should be now and what is to come: alarms, the forecast and its windows.

    `alpha` is the one given to `history_of`: alarms are its fourth question. The last bin is not over
    yet, so all leave it out.
    """
    over = complete(fill(history.series))
    forecast, period = forecast_by_season(over, history.season)
    coming: tuple[ComingWindow, ...] = ()
    if isinstance(forecast, Forecast) and period is not None:
        coming = coming_windows(over, period, forecast)
    return replace(history, forecast=forecast, coming=coming, alarms=alarms_of(over, alpha=alpha / QUESTIONS))


def complete(filled: FilledValues) -> FilledValues:
    """Return a series without its last bin, which ends with the last run and not with its hour."""
    return replace(filled, values=filled.values[:-1], observed=filled.observed[:-1])


def forecast_by_season(
    filled: FilledValues, season: Season | NotEnoughHistory
) -> tuple[Forecast | NotEnoughHistory, int | None]:
    """Forecast two days, or a week where there is a weekly season and history enough; also return the period found."""
    day = max(1, round(DAY_S / filled.step_s))
    if isinstance(season, NotEnoughHistory):
        return season, None
    periods = sorted((period.bins for period in season.periods), reverse=True)
    for period in periods:
        horizon = max(FORECAST_DAYS * day, period)
        if filled.values.size >= MIN_FORECAST_CYCLES * period + horizon:
            return forecast_of(filled, period, horizon), period
    # Without a season of its own the day is the baseline's period; fitting models to it gains nothing.
    return forecast_of(filled, day, FORECAST_DAYS * day, slow=False), None


def residual_of(history: History, *, only_season: bool = False) -> Residual:
    """Return what season, shifts and trend (or the season alone) leave of a series, for comparing it with others."""
    filled = fill(history.series)
    size = filled.values.size
    level = _seasonal(history.season, size)
    if isinstance(history.change_points, tuple) and not only_season:
        level = level + levels_of(filled, history.change_points)
    if isinstance(history.trend, Trend) and history.trend.significant and not only_season:
        level = level + history.trend.slope_per_day.estimate * np.arange(size) * filled.step_s / DAY_S
    seen = filled.observed
    middle = float(np.median(filled.values[seen])) if seen.any() else 0.0
    left: Values = filled.values - level
    return Residual(history.name, history.series.metric, filled.first_bin_ns, filled.step_s, left, seen, middle)


def _seasonal(season: Season | NotEnoughHistory, size: int) -> Values:
    if isinstance(season, NotEnoughHistory) or not season.seasonal:
        return np.zeros(size)
    return np.array(season.seasonal)
