"""Whether a series shifted for good: a filled series and its season in, dated shifts with their size out."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.gaps import FilledValues, Values
from otel_perfopt.analyse.history import ChangePoint, NotEnoughHistory
from otel_perfopt.analyse.long_run import LongRun, long_run

MIN_BINS = 48
MIN_SEGMENT_BINS = 6
MIN_SEGMENT_EFFECTIVE = 8.0
OUTLIER_DEVIATIONS = 4.0


def change_points_of(
    filled: FilledValues, season: Values, *, alpha: float = 0.05
) -> tuple[ChangePoint, ...] | NotEnoughHistory:
    """Return the lasting shifts of `filled` once its `season` is taken out; at most `alpha` of quiet series have any.

    Kernel change-point detection proposes them; each must also pass a cumulative-sum test with
    long-run variance (its limit is the Brownian bridge's), and steps must describe the series better
    than a straight line does, or it is a trend and no change.
    """
    seen = np.flatnonzero(filled.observed)
    if seen.size < MIN_BINS:
        return NotEnoughHistory(f"{seen.size} hours with data; a change needs at least {MIN_BINS}", seen.size, MIN_BINS)
    values = _pull_in_outliers((filled.values - season)[seen])
    breaks = _proposed(values)
    breaks = _confirmed(values, breaks, alpha)
    if not breaks or not _steps_beat_line(values, breaks):
        return ()
    noise = long_run(values - _levels(values, breaks), fitted=2 * len(breaks) + 1)
    edges = [0, *breaks, values.size]
    return tuple(
        _describe(filled, seen, values, (edges[place], edges[place + 1], edges[place + 2]), noise)
        for place in range(len(breaks))
    )


def levels_of(filled: FilledValues, changes: tuple[ChangePoint, ...]) -> Values:
    """Return the level that the shifts imply at every bin, from zero at the start."""
    levels = np.zeros(filled.values.size)
    for change in changes:
        levels[change.bin :] += change.shift.estimate
    return levels


def _pull_in_outliers(values: Values) -> Values:
    # Deviations from a running median: a shift must not make its own segment an outlier.
    width = max(5, min(values.size // 4, 49))
    padded = np.pad(values, width // 2, mode="reflect")
    running = np.median(np.lib.stride_tricks.sliding_window_view(padded, width)[:, :], axis=1)[: values.size]
    residuals = values - running
    deviation = 1.4826 * float(np.median(np.abs(residuals)))
    if deviation <= 0:
        return values
    result: Values = running + np.clip(residuals, -OUTLIER_DEVIATIONS * deviation, OUTLIER_DEVIATIONS * deviation)
    return result


def _proposed(values: Values) -> list[int]:
    # ruptures brings scipy, which takes seconds to import: only series with history pay for it.
    from ruptures import KernelCPD  # noqa: PLC0415

    shortest = max(MIN_SEGMENT_BINS, values.size // 50)
    noise = _noise_without_steps(values)
    if noise.variance <= 0:
        return []
    # The cost of a segment is its sum of squares, so a penalty is in units of the long-run variance.
    penalty = noise.variance * 2 * math.log(values.size)
    found = KernelCPD(kernel="linear", min_size=shortest).fit(values.reshape(-1, 1)).predict(pen=penalty)
    return [int(place) for place in found[:-1]]


def _noise_without_steps(values: Values) -> LongRun:
    # Noise around a running mean of a tenth of the series: whatever steps there are hardly enter.
    width = max(MIN_SEGMENT_BINS, values.size // 10) | 1
    padded = np.pad(values, width // 2, mode="edge")
    running = np.convolve(padded, np.ones(width) / width, mode="valid")
    return long_run(values - running, fitted=1)


def _confirmed(values: Values, breaks: list[int], alpha: float) -> list[int]:
    kept = list(breaks)
    while kept:
        # Where a shift stands was fitted as well as how large it is, hence two parameters each.
        noise = long_run(values - _levels(values, kept), fitted=2 * len(kept) + 1)
        if noise.wanders:
            return []
        edges = [0, *kept, values.size]
        scores = [
            _bridge(values, edges[place], edges[place + 1], edges[place + 2], noise) for place in range(len(kept))
        ]
        weakest = int(np.argmin(scores))
        if scores[weakest] > _bridge_quantile(alpha / len(kept)):
            break
        kept.pop(weakest)
    return kept


def _bridge(values: Values, start: int, split: int, end: int, noise: LongRun) -> float:
    before, after = split - start, end - split
    if min(before, after) * noise.effective / values.size < MIN_SEGMENT_EFFECTIVE:
        return 0.0
    shift = abs(float(values[split:end].mean() - values[start:split].mean()))
    return before * after * shift / math.sqrt(noise.variance * (before + after) ** 3)


def _bridge_quantile(alpha: float) -> float:
    # P(sup |bridge| > x) < 2 exp(-2 x^2), tight for the small levels asked for here.
    return math.sqrt(math.log(2 / alpha) / 2)


def _levels(values: Values, breaks: list[int]) -> Values:
    levels = np.empty_like(values)
    for start, end in pairwise([0, *breaks, values.size]):
        levels[start:end] = values[start:end].mean()
    return levels


def _steps_beat_line(values: Values, breaks: list[int]) -> bool:
    time = np.arange(values.size, dtype=np.float64)
    line = values - np.polynomial.polynomial.polyval(time, np.polynomial.polynomial.polyfit(time, values, 1))
    steps = values - _levels(values, breaks)
    # Each step costs two parameters (where and how much), the line one; counts are of independent bins.
    effective = long_run(steps, fitted=len(breaks) + 1).effective
    penalty = math.log(max(2.0, effective))
    line_score = effective * math.log(float(np.mean(line**2)) + 1e-300) + penalty
    step_score = effective * math.log(float(np.mean(steps**2)) + 1e-300) + 2 * len(breaks) * penalty
    return step_score < line_score


def _describe(
    filled: FilledValues, seen: NDArray[np.int64], values: Values, edges: tuple[int, int, int], noise: LongRun
) -> ChangePoint:
    start, split, end = edges
    before, after = float(values[start:split].mean()), float(values[split:end].mean())
    error = math.sqrt(noise.variance * (1 / (split - start) + 1 / (end - split)))
    margin = NormalDist().inv_cdf(0.975) * error
    shift = Interval(after - before, after - before - margin, after - before + margin)
    place = int(seen[split])
    relative = None
    if before > 0:
        relative = Interval(shift.estimate / before, shift.low / before, shift.high / before)
    return ChangePoint(place, filled.first_bin_ns + round(place * filled.step_s * 1e9), before, after, shift, relative)
