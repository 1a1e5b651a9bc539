"""Whether a series repeats itself: a `Series` in, the periods that two tests accept and the seasonal part out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.analyse.gaps import FilledValues, Values, fill
from otel_perfopt.analyse.history import NotEnoughHistory, Season, SeasonalPeriod
from otel_perfopt.measure.measurement import Series

DAY_S, WEEK_S = 86_400, 604_800
MIN_PERIODS = 2
MIN_COVERAGE = 0.5
ROUNDS = 2
JUMPS = 3  # computed points a window, at an error of some thousandths of a deviation


def season_of(series: Series, *, alpha: float = 0.01) -> Season | NotEnoughHistory:
    """Return the periods of `series`, or why there is not enough history to look for one.

    A period counts when its line stands out of the spectrum (over a running-median floor, at level
    `alpha` over all frequencies) and the profile of either half of the history predicts the other.
    """
    day = max(1, round(DAY_S / series.step_s))
    needs = MIN_PERIODS * day
    has = sum(value is not None for value in series.values)
    if len(series.values) < needs:
        return NotEnoughHistory(
            f"{_days(len(series.values), day)} of history; a season needs at least 2 days", has, needs
        )
    if has < MIN_COVERAGE * len(series.values) or has < needs:
        reason = f"only {has} of {len(series.values)} hours have data; a season needs half of them and 2 days' worth"
        return NotEnoughHistory(reason, has, max(needs, math.ceil(MIN_COVERAGE * len(series.values))))
    filled = fill(series)
    accepted = _accepted(filled, day, alpha)
    if not accepted:
        return Season(())
    parts = decompose(filled.values, tuple(period for period, _ in accepted))
    periods = tuple(_describe(filled, parts, place, found) for place, found in enumerate(accepted))
    seasonal = np.sum(parts[1], axis=0)
    return Season(periods, tuple(float(value) for value in seasonal))


def _days(bins: int, day: int) -> str:
    return f"{bins / day:.1f} days"


def _accepted(filled: FilledValues, day: int, alpha: float) -> list[tuple[int, float]]:
    accepted: list[tuple[int, float]] = []
    remaining = FilledValues(filled.values.copy(), filled.observed, filled.first_bin_ns, filled.step_s)
    for period in sorted(candidate_periods(filled.values, day, alpha)):
        r2 = split_half_r2(remaining, period)
        if r2 is not None and r2 >= _required_r2(period, filled.values.size):
            accepted.append((period, r2))
            # A longer period must explain what the shorter ones leave.
            remaining.values[:] -= _profile(remaining, period)[remaining.phase(period)]
    return accepted


def _required_r2(period: int, size: int) -> float:
    # The halves' profiles agree by chance as two vectors of `period` noisy entries do; more cycles, less chance.
    return 0.05 + 0.5 / max(1.0, size / (2 * period)) * math.sqrt(24 / max(period, 24)) * 0.5


def candidate_periods(values: Values, day: int, alpha: float) -> set[int]:
    """Return periods in bins whose spectral line stands out; harmonics of a day or a week count as those."""
    size = values.size
    spectrum = _periodogram(values)
    floor = _running_median(spectrum)
    # An exponential variable exceeds x times its median with probability 2^-x. The lines of the day
    # and the week were suspected beforehand: the search over all the others is what costs power.
    suspected, searched = math.log2(12 / alpha), math.log2(max(12, spectrum.size) / alpha)
    found: set[int] = set()
    for index in np.flatnonzero(spectrum > suspected * floor):
        frequency_index = int(index) + 1
        period = _fundamental(frequency_index, size, day)
        if period is None or not 3 <= period <= size // MIN_PERIODS:
            continue
        if period in (day, 7 * day) or spectrum[index] > searched * floor[index]:
            found.add(period)
    return found


def _periodogram(values: Values) -> Values:
    time = np.linspace(-1.0, 1.0, values.size)
    # A quadratic takes the slow drift out, which would leak into every line.
    low, high = np.quantile(values, (0.005, 0.995))
    clipped = np.clip(values, low, high)
    detrended = clipped - np.polynomial.polynomial.polyval(time, np.polynomial.polynomial.polyfit(time, clipped, 2))
    window = np.hanning(values.size + 2)[1:-1]
    power = np.abs(np.fft.rfft(detrended * window)) ** 2
    result: Values = power[1:].astype(np.float64)
    return result


def _running_median(spectrum: Values) -> Values:
    # Log-spaced windows: a red spectrum falls too steeply for a window of fixed width at its low end.
    size = spectrum.size
    floor = np.empty(size)
    for index in range(size):
        width = max(8, index // 2)
        low, high = max(0, index - width), min(size, index + width + 1)
        floor[index] = np.median(spectrum[low:high])
    return np.maximum(floor, 1e-12 * max(float(spectrum.max(initial=0.0)), 1e-300))


def _fundamental(frequency_index: int, size: int, day: int) -> int | None:
    # A line is known to one step of frequency; harmonics up to the sixth belong to their fundamental.
    for fundamental in (day, 7 * day):
        for harmonic in range(1, 7):
            if size >= MIN_PERIODS * fundamental and abs(frequency_index - harmonic * size / fundamental) <= 0.75:
                return fundamental
    if frequency_index < 4:
        return None  # fewer than four cycles: drift, not a season
    return round(size / frequency_index)


def _profile(filled: FilledValues, period: int, part: NDArray[np.bool_] | None = None) -> Values:
    chosen = filled.observed if part is None else filled.observed & part
    values = filled.values - _cycle_level(filled.values, period)
    phase = filled.phase(period)
    profile = np.zeros(period)
    for place in range(period):
        same = values[chosen & (phase == place)]
        if same.size:
            profile[place] = float(np.mean(same))
    result: Values = profile - profile.mean()
    return result


def _cycle_level(values: Values, period: int) -> Values:
    # The centred mean over one period: no season of that length, all of the drift.
    weights = np.ones(period + 1 - period % 2)
    if period % 2 == 0:
        weights[0] = weights[-1] = 0.5
    weights /= weights.sum()
    half = weights.size // 2
    padded = np.concatenate((values[:period].mean() * np.ones(half), values, values[-period:].mean() * np.ones(half)))
    return np.convolve(padded, weights, mode="valid")


def split_half_r2(filled: FilledValues, period: int) -> float | None:
    """Return how much of each half's variance about its drift the other half's profile explains; None below 2 cycles.

    1 is a perfect repeat; noise gives values below zero.
    """
    size = filled.values.size
    cut = (size // 2 // period) * period
    if cut < period:
        return None
    first = np.arange(size) < cut
    values = filled.values - _cycle_level(filled.values, period)
    phase = filled.phase(period)
    scores = []
    for fitted, scored in ((first, ~first), (~first, first)):
        profile = _profile(filled, period, fitted)
        judged = scored & filled.observed
        total = float(np.sum((values[judged] - values[judged].mean()) ** 2)) if judged.any() else 0.0
        if total <= 0.0:
            return None
        scores.append(1 - float(np.sum((values[judged] - profile[phase[judged]]) ** 2)) / total)
    return float(np.mean(scores))


def decompose(values: Values, periods: tuple[int, ...]) -> tuple[Values, list[Values]]:
    """Return the trend and the seasonal part of each period (MSTL: Bandara, Hyndman & Bergmeir 2021).

    As statsmodels' MSTL with the same windows, but each period has jumps of its own length: three in a
    window of trend and low-pass, with lines drawn between (benchmarks/series_speed.py).
    """
    # Importing statsmodels takes seconds, and most first analyses have no history: only those that do pay.
    from statsmodels.tsa.seasonal import STL  # noqa: PLC0415

    ordered = sorted(periods)
    seasonal = {period: np.zeros(values.size) for period in ordered}
    left, trend = values.copy(), values
    for _ in range(ROUNDS if len(ordered) > 1 else 1):
        for period in ordered:
            left = left + seasonal[period]
            jumps = {"trend_jump": max(1, round(1.5 * period / JUMPS)), "low_pass_jump": max(1, period // JUMPS)}
            fit = STL(left, period=period, seasonal=999, seasonal_deg=0, seasonal_jump=1, robust=False, **jumps).fit()
            seasonal[period], trend = np.asarray(fit.seasonal), np.asarray(fit.trend)
            left = left - seasonal[period]
    return trend, [seasonal[period] for period in periods]


def _describe(
    filled: FilledValues, parts: tuple[Values, list[Values]], place: int, accepted: tuple[int, float]
) -> SeasonalPeriod:
    period, r2 = accepted
    trend, seasonals = parts
    level = float(np.median(filled.values))
    residual = filled.values - trend - np.sum(seasonals, axis=0)
    own = seasonals[place]
    seen = filled.observed
    with_season = float(np.var((own + residual)[seen]))
    strength = max(0.0, 1 - float(np.var(residual[seen])) / with_season) if with_season > 0 else 0.0
    phase = filled.phase(period)
    profile = np.array([own[phase == step].mean() for step in range(period)])
    peak = int(np.argmax(profile))
    return SeasonalPeriod(
        bins=period,
        name=_name(period, filled.step_s),
        strength=strength,
        split_half_r2=r2,
        profile=tuple(float(value) for value in profile),
        peak_bin=peak,
        peak_relative=float(profile[peak] / level) if level > 0 else None,
    )


def _name(period: int, step_s: float) -> str:
    length = period * step_s
    if length == DAY_S:
        return "daily"
    if length == WEEK_S:
        return "weekly"
    return f"every {length / 3600:g} hours"
