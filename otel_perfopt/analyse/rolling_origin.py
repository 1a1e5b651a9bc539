"""How well forecasters would have done: a filled series and its period in, their errors from many past origins out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.analyse.forecasters import MIN_CYCLES, QUICK, SLOW, Forecaster
from otel_perfopt.analyse.gaps import FilledValues, Values

MAX_ORIGINS = 24
MIN_ORIGINS = 4
SLOW_EVERY = 4
BASELINE = "seasonal_naive"
MIN_GAIN = 0.02
# A lead of one standard error counts for nothing, one of four for all that any counts (benchmarks/series_forecast.py).
ERRORS_TO_WHOLE = 3.0
MOST_WEIGHT = 0.75


@dataclass(frozen=True, slots=True)
class Trials:
    """Errors (observed minus expected) of each forecaster: one row an origin, one column a bin ahead, NaN unobserved.

    A row of NaN is an origin from which the forecaster was not tried.
    """

    origins: NDArray[np.int64]
    horizon: int
    errors: Mapping[str, Values]

    def mean_error(self, name: str) -> Values:
        """Return the mean absolute error from each origin."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # rows without anything observed are NaN, as they should
            result: Values = np.nanmean(np.abs(self.errors[name]), axis=1)
        return result

    def best(self) -> tuple[str, float]:
        """Return the forecaster to follow and how far (0 to 0.75); the baseline has the rest of the weight.

        The one that promises most, its lead weighed by how sure it is: a lead of less than one
        standard error is none. Nothing is followed wholly, since who led in a few weeks need not lead
        in the next. That keeps the loss small and does not exclude one: benchmarks/series_forecast.py
        prints each recorded series' error over the baseline's with its interval.
        """
        chosen, weight, promise = BASELINE, 0.0, 0.0
        for name in self.errors:
            if name == BASELINE:
                continue
            lead, ratio = self._lead(name)
            own = min(MOST_WEIGHT, (lead - 1) / ERRORS_TO_WHOLE)
            if ratio < 1 - MIN_GAIN and own * (1 - ratio) > promise:
                chosen, weight, promise = name, own, own * (1 - ratio)
        return chosen, weight

    def mixed(self, name: str, weight: float) -> Values:
        """Return the errors of following a forecaster by `weight` and the baseline by the rest."""
        mix: Values = weight * self.errors[name] + (1 - weight) * self.errors[BASELINE]
        return mix

    def _lead(self, name: str) -> tuple[float, float]:
        """Return a forecaster's lead over the baseline in standard errors, and its error over the baseline's."""
        own, base = self._paired(name)
        if own.size < MIN_ORIGINS or base.mean() <= 0:
            return 0.0, 1.0
        gain = base - own
        error = float(gain.std(ddof=1)) / np.sqrt(independent_origins(self.origins, self.horizon))
        return float(gain.mean()) / max(float(error), 1e-300), float(own.mean() / base.mean())

    def _paired(self, name: str) -> tuple[Values, Values]:
        own, base = self.mean_error(name), self.mean_error(BASELINE)
        both = np.isfinite(own) & np.isfinite(base)
        return own[both], base[both]


def independent_origins(origins: NDArray[np.int64], horizon: int) -> float:
    """Return how many forecasts are worth counting: those from neighbouring origins are of the same bins."""
    span = int(origins[-1] - origins[0]) + horizon
    return max(2.0, min(float(origins.size), span / horizon))


def trials_of(filled: FilledValues, period: int, horizon: int, *, slow: bool = True) -> Trials | None:
    """Forecast from up to 24 past origins, each knowing only what was before it; None below four.

    Origins are spread over the second half of the history, at all places of the period.
    """
    size = filled.values.size
    first = max(MIN_CYCLES * period, size // 2 if size >= 2 * MIN_CYCLES * period else MIN_CYCLES * period)
    last = size - horizon
    if last - first < MIN_ORIGINS:
        return None
    step = max(1, -(-(last - first) // MAX_ORIGINS))
    origins = np.arange(last, first - 1, -step)[::-1].astype(np.int64)
    if origins.size < MIN_ORIGINS:
        return None
    everywhere = np.zeros(origins.size, dtype=np.bool_)
    everywhere[::-SLOW_EVERY] = True
    errors = {name: _errors(filled, forecaster, period, horizon, origins) for name, forecaster in QUICK.items()}
    if slow and int(everywhere.sum()) >= MIN_ORIGINS:
        for name, forecaster in SLOW.items():
            errors[name] = np.full((origins.size, horizon), np.nan)
            errors[name][everywhere] = _errors(filled, forecaster, period, horizon, origins[everywhere])
    return Trials(origins, horizon, errors)


def _errors(
    filled: FilledValues, forecaster: Forecaster, period: int, horizon: int, origins: NDArray[np.int64]
) -> Values:
    rows = np.full((origins.size, horizon), np.nan)
    for row, origin in enumerate(origins):
        expected = forecast_quietly(forecaster, filled.values[:origin], period, horizon)
        seen = filled.observed[origin : origin + horizon]
        truth = filled.values[origin : origin + horizon]
        rows[row] = np.where(seen, truth - expected, np.nan)
    return rows


def forecast_quietly(forecaster: Forecaster, values: Values, period: int, horizon: int) -> Values:
    """Forecast; a fit that does not converge or fails gives NaN, which loses every comparison."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = forecaster(values, period, horizon)
        except (ValueError, np.linalg.LinAlgError):
            return np.full(horizon, np.nan)
    return expected
