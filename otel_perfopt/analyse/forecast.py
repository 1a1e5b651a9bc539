"""What a series is expected to do next: a filled series and its period in, a `Forecast` with intervals out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.analyse.forecasters import FORECASTERS, MIN_CYCLES
from otel_perfopt.analyse.gaps import FilledValues, Values
from otel_perfopt.analyse.history import Forecast, NotEnoughHistory
from otel_perfopt.analyse.rolling_origin import BASELINE, forecast_quietly, independent_origins, trials_of
from otel_perfopt.analyse.student_t import student_t

LEVEL = 0.9
MIN_ERRORS = 40
# Far bins are less certain than near ones; errors are pooled where the lead is alike (in cycles).
LEAD_EDGES = (0.25, 1.0, 3.0)
CALIBRATED_SHARE = 0.6
MOST_WIDENING = 3.0


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
    method, weight = trials.best()
    errors = trials.mixed(method, weight)
    expected = _expected(filled.values, period, horizon, method, weight)
    places = (trials.origins[:, None] + np.arange(horizon)) % period
    scale = _Scale(errors, places, period)
    independent = independent_origins(trials.origins, horizon)
    low, high = _interval(errors / scale.at(places), level, independent, _lead_edges(horizon, period))
    coverage, wider = _check(trials.origins, errors, level, period)
    coming = (size + np.arange(horizon)) % period
    floor = 0.0 if float(np.min(filled.values[filled.observed])) >= 0 else -np.inf
    base = np.where(np.isfinite(errors), trials.errors[BASELINE], np.nan)
    naive = float(np.nanmean(np.abs(base)))
    return Forecast(
        method=method,
        weight=weight,
        start_ns=filled.first_bin_ns + round(size * filled.step_s * 1e9),
        step_s=filled.step_s,
        expected=_plain(np.maximum(expected, floor)),
        low=_plain(np.maximum(expected + wider * low * scale.at(coming), floor)),
        high=_plain(np.maximum(expected + wider * high * scale.at(coming), floor)),
        level=level,
        coverage=coverage,
        error=float(np.nanmean(np.abs(errors))),
        to_naive=float(np.nanmean(np.abs(errors))) / naive if naive > 0 else 1.0,
        trials=int(np.isfinite(errors).any(axis=1).sum()),
    )


def _expected(values: Values, period: int, horizon: int, method: str, weight: float) -> Values:
    base = FORECASTERS[BASELINE](values, period, horizon)
    if weight <= 0:
        return base
    mix: Values = weight * forecast_quietly(FORECASTERS[method], values, period, horizon) + (1 - weight) * base
    return mix if bool(np.isfinite(mix).all()) else base


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


def _interval(scores: Values, level: float, independent: float, edges: list[int]) -> tuple[Values, Values]:
    """Return the low and high quantile of scaled errors at each lead; `edges` part leads that are alike."""
    low, high = np.empty(scores.shape[1]), np.empty(scores.shape[1])
    # Quantiles of few independent days are as uncertain as a mean of few values is.
    wider = student_t(1 - level, independent - 1) / student_t(1 - level, 1e9)
    for start, end in pairwise(edges):
        leads = slice(start, end)
        found = scores[:, leads][np.isfinite(scores[:, leads])]
        if found.size < MIN_ERRORS:
            found = scores[np.isfinite(scores)]
        low[leads], high[leads] = wider * np.quantile(found, ((1 - level) / 2, (1 + level) / 2))
    return np.minimum(low, 0.0), np.maximum(high, 0.0)


def _lead_edges(horizon: int, period: int) -> list[int]:
    return [0, *(round(edge * period) for edge in LEAD_EDGES if 0 < round(edge * period) < horizon), horizon]


def _check(origins: NDArray[np.int64], errors: Values, level: float, period: int) -> tuple[float | None, float]:
    """Return how much intervals of earlier trials held of later ones, and by what they should have been wider.

    None and 1 without enough of either. Series drift: what a few weeks taught is often too sure.
    """
    horizon = errors.shape[1]
    tried = np.isfinite(errors).any(axis=1)
    errors, origins = errors[tried], origins[tried]
    cut = int(np.ceil(CALIBRATED_SHARE * origins.size))
    places = (origins[:, None] + np.arange(horizon)) % period
    # What a later trial forecasts must not have been seen by the earlier ones.
    later = origins >= (origins[cut - 1] + horizon if cut else 0)
    if cut < 3 or not later.any() or np.isfinite(errors[:cut]).sum() < MIN_ERRORS:
        return None, 1.0
    scale = _Scale(errors[:cut], places[:cut], period)
    independent = independent_origins(origins[:cut], horizon)
    low, high = _interval(errors[:cut] / scale.at(places[:cut]), level, independent, _lead_edges(horizon, period))
    scores = errors[later] / scale.at(places[later])
    reach = np.where(scores < 0, scores / np.minimum(low, -1e-12), scores / np.maximum(high, 1e-12))
    reach = reach[np.isfinite(reach)]
    if not reach.size:
        return None, 1.0
    return float(np.mean(reach <= 1)), float(np.clip(np.quantile(reach, level), 1.0, MOST_WIDENING))
