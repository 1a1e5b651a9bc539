"""How little each bin was to be expected: values and the bins of a day in, a score a bin from what was before it out."""

from __future__ import annotations

from typing import Final

import numpy as np

from otel_perfopt.analyse.gaps import Values
from otel_perfopt.analyse.tail import Tail

# Past days and weeks whose same time says what to expect, with the bins next to it.
DAYS, WEEKS = 7, 4
NEXT_TO: Final = (-1, 0, 1)
SMOOTHED_BINS = 12
# Windows compared with past windows (k nearest neighbours, as in kNN-CAD: Burnaev & Ishimtsev 2016).
WINDOW_BINS = 19
NEIGHBOURS = 5
MAX_WINDOWS = 6000
WINDOW_STRIDE = 3
BLOCK = 25
REFIT_EVERY = 50
# Deviations, and decades of probability, that count as one; none of the three may speak for all.
DEVIATIONS_OF_ONE = 4.5
DECADES_OF_ONE = 2.34
MOST_OF_ONE = 2.0
PAST_BINS = 6400
MIN_PAST = 60


def surprise(values: Values, day: int) -> Values:
    """Return a score for every bin: about 0.8 and more is an anomaly, below 0.4 is noise.

    The mean of three views, each knowing only the bins before: how far the last twelve bins lie from
    the same time of the past days, how far this bin lies from the same time of the past weeks (days,
    until there are two weeks), and how unlike any earlier stretch of 19 bins the last one is. The
    constants are the same for every series. Bins without enough past score 0.
    """
    by_day, by_week = seasonal_views(values, day)
    views = (by_day / DEVIATIONS_OF_ONE, by_week / DEVIATIONS_OF_ONE, unlike_before(values) / DECADES_OF_ONE)
    result: Values = np.mean([np.minimum(view, MOST_OF_ONE) for view in views], axis=0)
    return result


def seasonal_views(values: Values, day: int) -> tuple[Values, Values]:
    """Return the first two views in deviations of their own past, without sign."""
    by_day = deviations(mean_of_last(departures(values, day, DAYS), SMOOTHED_BINS))
    return np.abs(by_day), np.abs(_by_week(values, day))


def _by_week(values: Values, day: int) -> Values:
    daily = deviations(departures(values, day, DAYS))
    week = 7 * day
    if values.size <= 2 * week:
        return daily
    weekly = deviations(departures(values, week, WEEKS))
    return np.where(np.arange(values.size) < 2 * week, daily, weekly)


def departures(values: Values, period: int, cycles: int) -> Values:
    """Return each value less the median of the same time in up to `cycles` past periods; 0 in the first."""
    expected = expectation(values, period, cycles)
    result: Values = np.where(np.isfinite(expected), values - expected, 0.0)
    return result


def expectation(values: Values, period: int, cycles: int) -> Values:
    """Return the median of the same time, and the bins next to it, in past periods; NaN in the first."""
    size = values.size
    columns = np.full((size, cycles * len(NEXT_TO)), np.nan)
    for cycle in range(1, cycles + 1):
        for place, beside in enumerate(NEXT_TO):
            lag = cycle * period - beside
            # The bin beside must lie in the past as well, and after the series' start.
            if 0 < lag < size:
                columns[lag:, (cycle - 1) * len(NEXT_TO) + place] = values[: size - lag]
    expected = np.full(size, np.nan)
    known = np.arange(size) >= period
    if known.any():
        expected[known] = np.nanmedian(columns[known], axis=1)
    return expected


def mean_of_last(values: Values, bins: int) -> Values:
    """Return the mean of each value and those just before it."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    ends = np.arange(1, values.size + 1)
    starts = np.maximum(0, ends - bins)
    result: Values = (sums[ends] - sums[starts]) / (ends - starts)
    return result


def deviations(values: Values) -> Values:
    """Return how many standard deviations of the past each value lies from the past's mean; 0 without a past."""
    centred = values - np.median(values[:MIN_PAST]) if values.size else values
    sums = np.concatenate(([0.0], np.cumsum(centred)))
    squares = np.concatenate(([0.0], np.cumsum(centred**2)))
    ends = np.arange(values.size)
    starts = np.maximum(0, ends - PAST_BINS)
    count = np.maximum(ends - starts, 1)
    mean = (sums[ends] - sums[starts]) / count
    variance = np.maximum((squares[ends] - squares[starts]) / count - mean**2, 0.0)
    # A series that never moved has no scale: what is below a billionth of its size is no move.
    smallest = 1e-9 * max(1.0, float(np.max(np.abs(values), initial=0.0)))
    result: Values = (centred - mean) / np.maximum(np.sqrt(variance), smallest)
    result[:10] = 0.0
    return result


def unlike_before(values: Values) -> Values:
    """Return how unlike earlier stretches the last 19 bins are: decades of probability among past distances."""
    distances = _distances(values)
    scores = np.zeros(values.size)
    for start in range(max(MIN_PAST, 3 * WINDOW_BINS), values.size, REFIT_EVERY):
        past = distances[2 * WINDOW_BINS : start]
        scores[start : start + REFIT_EVERY] = Tail.of(past).decades(distances[start : start + REFIT_EVERY])
    return scores


def _distances(values: Values) -> Values:
    """Return each window's mean distance to the nearest windows that ended before it began."""
    size = values.size
    distances = np.zeros(size)
    if size < 3 * WINDOW_BINS:
        return distances
    windows = np.lib.stride_tricks.sliding_window_view(values - values.mean(), WINDOW_BINS)
    for start in range(2 * WINDOW_BINS, size, BLOCK):
        pool = windows[max(0, start - 2 * WINDOW_BINS + 1 - MAX_WINDOWS) : start - 2 * WINDOW_BINS + 1]
        if pool.shape[0] > MAX_WINDOWS // WINDOW_STRIDE:
            pool = pool[::-WINDOW_STRIDE]
        judged = windows[start - WINDOW_BINS + 1 : min(start + BLOCK, size) - WINDOW_BINS + 1]
        squared = (judged**2).sum(axis=1)[:, None] + (pool**2).sum(axis=1)[None, :] - 2 * judged @ pool.T
        nearest = min(NEIGHBOURS, pool.shape[0])
        least = np.partition(squared, nearest - 1, axis=1)[:, :nearest]
        distances[start : start + judged.shape[0]] = np.sqrt(np.maximum(least, 0.0)).mean(axis=1)
    return distances
