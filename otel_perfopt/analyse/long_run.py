"""How noisy a mean over correlated bins is: residuals in, long-run variance and effective sample size out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Above this lag-one correlation a series has no level to speak of within any practical history.
WANDERING = 0.95


@dataclass(frozen=True, slots=True)
class LongRun:
    """Long-run variance of residuals (their spectral density at zero), lag-one correlation, effective count."""

    variance: float
    lag_one: float
    effective: float

    @property
    def wanders(self) -> bool:
        """Whether the residuals look like a random walk, so that levels and slopes mean nothing."""
        return self.lag_one > WANDERING


def long_run(residuals: NDArray[np.float64], *, fitted: int = 1) -> LongRun:
    """Estimate the long-run variance by prewhitened Newey-West (Andrews & Monahan 1992).

    `fitted` is the number of parameters that gave the residuals; the lag-one correlation is
    corrected for the downward bias that fitting brings (Kendall 1954: (1 + 3ρ)/n a parameter).
    """
    count = residuals.size
    variance = float(np.sum(residuals**2) / max(1, count - fitted))
    if count < 8 or variance <= 0.0:
        return LongRun(variance, 0.0, float(count))
    rho = float(np.sum(residuals[1:] * residuals[:-1]) / np.sum(residuals**2))
    rho = min(0.99, rho + fitted * (1 + 3 * max(rho, 0.0)) / count)
    white = residuals[1:] - rho * residuals[:-1]
    lags = int(4 * (count / 100) ** (2 / 9))
    total = float(np.mean(white**2))
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(np.sum(white[lag:] * white[:-lag]) / white.size)
    corrected = max(total, float(np.mean(white**2)) * 0.5) / (1 - rho) ** 2
    corrected = max(corrected, variance)
    return LongRun(corrected, rho, count * variance / corrected)
