"""Ways to say what comes next: past values and their period in, one expected value a coming bin out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from otel_perfopt.analyse.gaps import Values

# (values so far, bins of a period, how many bins ahead) to expected values.
Forecaster = Callable[[Values, int, int], Values]

MAX_CYCLES = 8
MIN_CYCLES = 2
# A level measured over one cycle is half chance; the profile's own level is the other half.
LEVEL_WEIGHT = 0.5


def seasonal_naive(values: Values, period: int, horizon: int) -> Values:
    """Repeat the last cycle: the baseline that every other forecaster must beat."""
    return values[-period:][np.arange(horizon) % period]


def seasonal_median(values: Values, period: int, horizon: int) -> Values:
    """Repeat the median of the last cycles at each place of the period."""
    profile: Values = np.median(_cycles(values, period), axis=0)
    return profile[np.arange(horizon) % period]


def profile_and_level(values: Values, period: int, horizon: int) -> Values:
    """Add to each place's median over the last cycles half of how far the last cycle lay from it."""
    cycles = _cycles(values, period)
    profile = np.median(cycles, axis=0)
    level = LEVEL_WEIGHT * float(np.median(cycles[-1] - profile))
    result: Values = profile[np.arange(horizon) % period] + level
    return result


def scaled_profile(values: Values, period: int, horizon: int) -> Values:
    """Scale the cycles' shape by the level of the last: load grows by a factor, not by a number.

    Falls back to `profile_and_level` where a cycle has no positive level.
    """
    cycles = _cycles(values, period)
    levels = cycles.mean(axis=1)
    if levels.min() <= 0:
        return profile_and_level(values, period, horizon)
    shape = np.median(cycles / levels[:, None], axis=0)
    level = float(np.exp((np.log(levels[-1]) + np.mean(np.log(levels[-3:]))) / 2))
    result: Values = shape[np.arange(horizon) % period] * level
    return result


def blend(values: Values, period: int, horizon: int) -> Values:
    """Average the last cycle and the profile: errors of the two cancel in part."""
    mixed: Values = (seasonal_naive(values, period, horizon) + profile_and_level(values, period, horizon)) / 2
    return mixed


def fading_residual(values: Values, period: int, horizon: int) -> Values:
    """Let the present departure from the profile fade as it has faded before (an AR(1) about the profile)."""
    cycles = _cycles(values, period)
    profile = np.median(cycles, axis=0)
    residuals = (cycles - profile).ravel()
    power = float(np.sum(residuals[:-1] ** 2))
    rho = float(np.clip(np.sum(residuals[1:] * residuals[:-1]) / power, 0.0, 0.99)) if power > 0 else 0.0
    fading = residuals[-1] * rho ** np.arange(1, horizon + 1)
    result: Values = profile[np.arange(horizon) % period] + fading
    return result


def recent_level(values: Values, period: int, horizon: int) -> Values:
    """Expect the median of the last cycle throughout: the best guess where nothing repeats."""
    return np.full(horizon, float(np.median(values[-period:])))


def season_and_smoothing(values: Values, period: int, horizon: int) -> Values:
    """Take the season out (STL), smooth what is left exponentially, and add the last season (STLF, Hyndman 2021)."""
    from statsmodels.tsa.holtwinters import SimpleExpSmoothing  # noqa: PLC0415 - importing takes seconds

    recent = values[-MAX_CYCLES * period :]
    seasonal = stl_season(recent, period)
    level = SimpleExpSmoothing(recent - seasonal, initialization_method="heuristic").fit()
    result: Values = np.asarray(level.forecast(1))[0] + seasonal[-period:][np.arange(horizon) % period]
    return result


def stl_season(values: Values, period: int) -> Values:
    """Return the seasonal part of `values` by STL with the settings measured for series like these."""
    from statsmodels.tsa.seasonal import STL  # noqa: PLC0415 - importing takes seconds

    fit = STL(
        values,
        period=period,
        seasonal=999,
        seasonal_deg=0,
        trend_jump=max(1, round(1.5 * period / 10)),
        low_pass_jump=max(1, period // 10),
    ).fit()
    return np.asarray(fit.seasonal, dtype=np.float64)


# One entry a forecaster; the first is the baseline.
QUICK: Final[Mapping[str, Forecaster]] = {
    "seasonal_naive": seasonal_naive,
    "seasonal_median": seasonal_median,
    "profile_and_level": profile_and_level,
    "scaled_profile": scaled_profile,
    "blend": blend,
    "fading_residual": fading_residual,
    "recent_level": recent_level,
}
# Fitting takes longer than all the others together, so what fits something is tried from fewer origins.
SLOW: Final[Mapping[str, Forecaster]] = {"season_and_smoothing": season_and_smoothing}
FORECASTERS: Final[Mapping[str, Forecaster]] = {**QUICK, **SLOW}


def _cycles(values: Values, period: int) -> Values:
    count = min(MAX_CYCLES, values.size // period)
    return values[-count * period :].reshape(count, period)
