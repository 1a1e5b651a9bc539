"""Whether a series rises or falls: a filled series and its season in, the slope with its interval out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.gaps import FilledValues, Values
from otel_perfopt.analyse.history import NotEnoughHistory, Trend
from otel_perfopt.analyse.long_run import long_run
from otel_perfopt.analyse.student_t import student_t

DAY_S = 86_400
MIN_BINS = 24
MIN_DAYS = 2
MIN_EFFECTIVE = 8.0
OUTLIER_DEVIATIONS = 4.0
MAX_PAIRED_POINTS = 300


def trend_of(filled: FilledValues, level: Values, *, alpha: float = 0.05) -> Trend | NotEnoughHistory:
    """Return the slope of `filled` once `level` (its season and known shifts) is taken out.

    A Theil-Sen line finds the outliers, which are pulled in to four deviations; least squares on the
    rest gives the slope, and the long-run variance of the residuals its interval. `alpha` is the
    level at which `significant` is claimed; the interval itself is at 95 %.
    """
    seen = filled.observed
    has = int(seen.sum())
    if has < MIN_BINS:
        return NotEnoughHistory(f"{has} hours with data; a trend needs at least {MIN_BINS}", has, MIN_BINS)
    span_days = filled.values.size * filled.step_s / DAY_S
    if span_days < MIN_DAYS:
        reason = f"{span_days:.1f} days of history; below {MIN_DAYS} a trend cannot be told from the hours of the day"
        return NotEnoughHistory(reason, filled.values.size, round(MIN_DAYS * DAY_S / filled.step_s))
    days = (np.arange(filled.values.size) * filled.step_s / DAY_S)[seen]
    values = _without_outliers(days, (filled.values - level)[seen])
    centred = days - days.mean()
    spread = float(np.sum(centred**2))
    slope = float(np.sum(centred * values) / spread)
    noise = long_run(values - values.mean() - slope * centred, fitted=2)
    if noise.wanders or noise.effective < MIN_EFFECTIVE:
        reason = f"its {has} hours wander so slowly that they tell as much as {max(1, round(noise.effective))} independent ones"
        return NotEnoughHistory(reason, round(noise.effective), round(MIN_EFFECTIVE))
    error = float(np.sqrt(noise.variance / spread))
    shown = error * student_t(0.05, noise.effective - 2)
    claimed = error * student_t(alpha, noise.effective - 2)
    interval = Interval(slope, slope - shown, slope + shown)
    middle = float(np.median(filled.values[seen]))
    return Trend(interval, _relative(interval, middle), significant=abs(slope) > claimed)


def _relative(interval: Interval, middle: float) -> Interval | None:
    if middle <= 0:
        return None
    return Interval(interval.estimate / middle, interval.low / middle, interval.high / middle, interval.level)


def _without_outliers(time: Values, values: Values) -> Values:
    slope = _theil_sen(time, values)
    residuals = values - slope * time
    middle = np.median(residuals)
    deviation = 1.4826 * float(np.median(np.abs(residuals - middle)))
    if deviation <= 0:
        return values
    kept = np.clip(residuals - middle, -OUTLIER_DEVIATIONS * deviation, OUTLIER_DEVIATIONS * deviation)
    result: Values = kept + middle + slope * time
    return result


def _theil_sen(time: Values, values: Values) -> float:
    blocks = min(MAX_PAIRED_POINTS, time.size)
    edges = np.linspace(0, time.size, blocks + 1).astype(int)
    times = _medians(time, edges)
    middles = _medians(values, edges)
    rise, run = middles[:, None] - middles[None, :], times[:, None] - times[None, :]
    pairs = run > 0
    return float(np.median(rise[pairs] / run[pairs])) if pairs.any() else 0.0


def _medians(values: Values, edges: NDArray[np.int64]) -> Values:
    return np.array([np.median(values[low:high]) for low, high in pairwise(edges)])
