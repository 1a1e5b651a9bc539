"""What a series is expected to do next: a filled series and its period in, a `Forecast` with intervals out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.analyse.forecasters import FORECASTERS, MIN_CYCLES
from otel_perfopt.analyse.gaps import FilledValues, Values
from otel_perfopt.analyse.history import Forecast, NotEnoughHistory
from otel_perfopt.analyse.rolling_origin import BASELINE, Trials, forecast_quietly, trials_of

LEVEL = 0.9
MIN_ERRORS = 40
# Far bins are less certain than near ones; errors are pooled where the lead is alike (in cycles).
LEAD_EDGES = (0.25, 1.0, 3.0)
CALIBRATED_SHARE = 0.6


def forecast_of(
    filled: FilledValues, period: int, horizon: int, *, level: float = LEVEL, slow: bool = True
) -> Forecast | NotEnoughHistory:
    """Forecast `horizon` bins by the forecaster that did best from past origins, against seasonal-naive.

    Intervals are empirical quantiles of the errors made then, scaled by how uncertain each place of
    the period is (conformal prediction, Vovk 2005, with normalised scores); each is to hold `level`
    of the values to come. Without at least two periods and four trials there is nothing to say.
    """
    size = filled.values.size
    needs = MIN_CYCLES * period + horizon + 4
    if size < needs:
        return NotEnoughHistory(f"{size} hours of history; a forecast needs at least {needs}", size, needs)
    trials = trials_of(filled, period, horizon, slow=slow)
    if trials is None or np.isfinite(trials.errors[BASELINE]).sum() < MIN_ERRORS:
        return NotEnoughHistory("too few hours with data to try a forecast on", int(filled.observed.sum()), needs)
    method = trials.best()
    expected = forecast_quietly(FORECASTERS[method], filled.values, period, horizon)
    places = trials.origins[:, None] + np.arange(horizon)
    scale = _Scale(trials.errors[method], places % period, period)
    low, high = _interval(trials.errors[method], places % period, scale, level, period)
    coming = (size + np.arange(horizon)) % period
    floor = 0.0 if float(np.min(filled.values[filled.observed])) >= 0 else -np.inf
    return Forecast(
        method=method,
        start_ns=filled.first_bin_ns + round(size * filled.step_s * 1e9),
        step_s=filled.step_s,
        expected=_plain(np.maximum(expected, floor)),
        low=_plain(np.maximum(expected + low * scale.at(coming), floor)),
        high=_plain(np.maximum(expected + high * scale.at(coming), floor)),
        level=level,
        coverage=_coverage(trials, method, level, period),
        error=float(np.nanmean(np.abs(trials.errors[method]))),
        to_naive=trials.to_baseline(method) or 1.0,
        trials=int(np.isfinite(trials.mean_error(method)).sum()),
    )


def _plain(values: Values) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


class _Scale:
    """How large errors are at each place of the period, smoothed; busy hours are less certain than quiet ones."""

    def __init__(self, errors: Values, places: NDArray[np.int64], period: int) -> None:
        size, seen = np.abs(errors), np.isfinite(errors)
        overall = float(size[seen].mean()) if seen.any() else 0.0
        kernel = np.ones(max(1, period // 12) | 1)
        sums = _around(np.bincount(places[seen], size[seen], period).astype(np.float64), kernel)
        counts = _around(np.bincount(places[seen], minlength=period).astype(np.float64), kernel)
        # Ten errors' worth of the overall size keep a place with few errors from looking certain.
        self._by_place = (sums + 10 * overall) / (counts + 10)
        if overall <= 0:
            self._by_place = np.ones(period)

    def at(self, places: NDArray[np.int64]) -> Values:
        """Return the scale at each place."""
        result: Values = self._by_place[places]
        return result


def _around(values: Values, kernel: Values) -> Values:
    half = kernel.size // 2
    wrapped = np.concatenate((values[values.size - half :], values, values[:half]))
    return np.convolve(wrapped, kernel, mode="valid")


def _interval(
    errors: Values, places: NDArray[np.int64], scale: _Scale, level: float, period: int
) -> tuple[Values, Values]:
    """Return the low and high quantile of scaled errors at each lead."""
    horizon = errors.shape[1]
    scores = errors / scale.at(places)
    low, high = np.empty(horizon), np.empty(horizon)
    for leads in _lead_groups(horizon, period):
        found = np.sort(scores[:, leads][np.isfinite(scores[:, leads])])
        if found.size < MIN_ERRORS:
            found = np.sort(scores[np.isfinite(scores)])
        # The coming error is one more of its kind: ranks are out of n + 1. Errors from one origin
        # go up and down together, so an origin counts as one observation for the margin.
        origins = int(np.isfinite(scores[:, leads]).any(axis=1).sum())
        tail = (1 - level) / 2 * origins / (origins + 1)
        low[leads], high[leads] = np.quantile(found, tail), np.quantile(found, 1 - tail)
    return low, high


def _lead_groups(horizon: int, period: int) -> list[slice]:
    edges = [0, *(round(edge * period) for edge in LEAD_EDGES if 0 < round(edge * period) < horizon), horizon]
    return [slice(start, end) for start, end in pairwise(edges)]


def _coverage(trials: Trials, method: str, level: float, period: int) -> float | None:
    """Return how much the intervals of earlier trials held of later ones; None without enough of either."""
    errors = trials.errors[method]
    tried = np.isfinite(errors).any(axis=1)
    errors, origins = errors[tried], trials.origins[tried]
    cut = int(np.ceil(CALIBRATED_SHARE * origins.size))
    places = (origins[:, None] + np.arange(trials.horizon)) % period
    # What a later trial forecasts must not have been seen by the earlier ones.
    later = origins >= (origins[cut - 1] + trials.horizon if cut else 0)
    if cut < 3 or not later.any() or np.isfinite(errors[:cut]).sum() < MIN_ERRORS:
        return None
    scale = _Scale(errors[:cut], places[:cut], period)
    low, high = _interval(errors[:cut], places[:cut], scale, level, period)
    scores = errors[later] / scale.at(places[later])
    seen = np.isfinite(scores)
    held = (scores >= low) & (scores <= high)
    return float(held[seen].mean()) if seen.any() else None
