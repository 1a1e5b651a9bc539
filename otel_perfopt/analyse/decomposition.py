"""Takes a series apart: a `Series` in, its `History` (season, lasting shifts, trend) out."""

from __future__ import annotations

import numpy as np

from otel_perfopt.analyse.change_point import change_points_of, levels_of
from otel_perfopt.analyse.gaps import Values, fill
from otel_perfopt.analyse.history import History, NotEnoughHistory, Season
from otel_perfopt.analyse.season import season_of
from otel_perfopt.analyse.trend import trend_of
from otel_perfopt.measure.measurement import Series

# Season, change points and trend are asked of every series: each gets a third of its level.
QUESTIONS = 3


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


def _seasonal(season: Season | NotEnoughHistory, size: int) -> Values:
    if isinstance(season, NotEnoughHistory) or not season.seasonal:
        return np.zeros(size)
    return np.array(season.seasonal)
