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
# Holt-Winters searches over every place of the period: with a week of hours a fit takes half a second and is no better.
LONGEST_FITTED_PERIOD = 48
BASELINE = "seasonal_naive"
# A forecaster is taken for the baseline only where its lead is no accident of these trials.
MIN_GAIN = 0.02
SURE_ERRORS = 1.0


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

    def to_baseline(self, name: str) -> float | None:
        """Return a forecaster's mean error over the baseline's from the same origins; None without such."""
        own, base = self._paired(name)
        return float(own.mean() / base.mean()) if own.size and base.mean() > 0 else None

    def best(self) -> str:
        """Return the forecaster with the least error, or the baseline where none is surely better."""
        chosen, least = BASELINE, 1 - MIN_GAIN
        for name in self.errors:
            own, base = self._paired(name)
            if name == BASELINE or own.size < MIN_ORIGINS or base.mean() <= 0:
                continue
            gain = base - own
            # Neighbouring origins forecast the same bins: only so many of them are independent.
            span = int(self.origins[-1] - self.origins[0]) + self.horizon
            independent = max(2.0, min(own.size, span / self.horizon))
            ratio = float(own.mean() / base.mean())
            if ratio < least and gain.mean() > SURE_ERRORS * gain.std(ddof=1) / np.sqrt(independent):
                chosen, least = name, ratio
        return chosen

    def _paired(self, name: str) -> tuple[Values, Values]:
        own, base = self.mean_error(name), self.mean_error(BASELINE)
        both = np.isfinite(own) & np.isfinite(base)
        return own[both], base[both]


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
            if name == "holt_winters" and period > LONGEST_FITTED_PERIOD:
                continue
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
