"""Whether latency, errors or tokens follow the load: residual series in, correlations that are no accident out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.gaps import Values
from otel_perfopt.analyse.history import LoadCorrelation
from otel_perfopt.analyse.long_run import long_run
from otel_perfopt.analyse.student_t import student_t

MAX_LAG_BINS = 6
MIN_BINS = 96
LOCAL_BINS = 24
# A correlation below this moves nothing worth acting on, however sure it is.
MIN_CORRELATION = 0.1


@dataclass(frozen=True, slots=True)
class Residual:
    """What is left of a series without rhythm, trend and shifts; `observed` marks bins with data.

    `median` is the series' own level, for relative sizes.
    """

    name: str
    metric: str
    first_bin_ns: int
    step_s: float
    values: Values
    observed: NDArray[np.bool_]
    median: float


def load_correlations(
    load: Residual, others: Sequence[Residual], *, alpha: float = 0.01
) -> tuple[LoadCorrelation, ...]:
    """Return which of `others` follow `load`, at lags of 0 to 6 bins; at most `alpha` of unrelated sets have any.

    Ranks are correlated, so that a few wild hours decide nothing. The load is turned about its circle
    by every number of bins: each turn keeps the rhythm and memory of both series but breaks what ties
    them, so the spread of the turned correlations is what accident can do. `alpha` is shared by all lags
    and series (Bonferroni). Series that wander like a random walk are left out: any two of those seem
    tied. Empty with less than four days of data.
    """
    pairs = [_Pair.of(load, other) for other in others]
    usable = [pair for pair in pairs if pair is not None]
    tests = (MAX_LAG_BINS + 1) * len(usable)
    found = [describe for pair in usable if (describe := pair.judged(tests, alpha)) is not None]
    return tuple(sorted(found, key=lambda item: -abs(item.correlation.estimate)))


@dataclass(frozen=True, slots=True)
class _Pair:
    """Normal scores of the ranks of both series on their common bins, zero where one is not observed."""

    other: Residual
    load: Residual
    x: Values
    y: Values
    by_turn: Values

    @classmethod
    def of(cls, load: Residual, other: Residual) -> _Pair | None:
        if load.step_s != other.step_s:
            return None
        offset = round((other.first_bin_ns - load.first_bin_ns) / (load.step_s * 1e9))
        start, end = max(0, offset), min(load.values.size, offset + other.values.size)
        if end - start < MIN_BINS:
            return None
        x = _scores(load.values[start:end], load.observed[start:end])
        y = _scores(other.values[start - offset : end - offset], other.observed[start - offset : end - offset])
        power = float(np.sqrt(np.sum(x**2) * np.sum(y**2)))
        if int(np.count_nonzero(y)) < MIN_BINS or power <= 0 or long_run(x).wanders or long_run(y).wanders:
            return None
        # Correlations at every turn at once: entry k pairs y[t] with x[t - k].
        turned = np.fft.irfft(np.fft.rfft(y) * np.conj(np.fft.rfft(x)), n=x.size) / power
        return cls(other, load, x, y, np.asarray(turned, dtype=np.float64))

    def judged(self, tests: int, alpha: float) -> LoadCorrelation | None:
        """Describe the strongest correlation; None where accident may have made it, or it moves nothing."""
        lags = self.by_turn[: MAX_LAG_BINS + 1]
        lag = int(np.argmax(np.abs(lags)))
        strength = float(lags[lag])
        # Turns within a day of no turn at all still show the real tie.
        near = LOCAL_BINS + MAX_LAG_BINS
        accident = float(np.sqrt(np.mean(self.by_turn[near:-near] ** 2)))
        sure = student_t(alpha / tests, _effective(self.x, self.y) - 2)
        if abs(strength) < max(MIN_CORRELATION, accident * sure):
            return None
        p_value = min(1.0, tests * erfc(abs(strength) / max(accident, 1e-12) / sqrt(2)))
        return self.describe(lag, strength, p_value)

    def describe(self, lag: int, strength: float, p_value: float) -> LoadCorrelation:
        interval = _fisher_interval(strength, _effective(self.x, self.y))
        relative = None
        if self.other.median > 0:
            seen = self.other.observed
            size = _deviation(self.other.values[seen]) / self.other.median
            relative = Interval(strength * size, interval.low * size, interval.high * size)
        return LoadCorrelation(
            series=self.other.name,
            metric=self.other.metric,
            lag_bins=lag,
            lag_s=lag * self.load.step_s,
            correlation=interval,
            relative=relative,
            p_value=p_value,
        )


def _scores(values: Values, observed: NDArray[np.bool_]) -> Values:
    """Return van der Waerden scores: what the ranks would be as normal deviations; ties share theirs."""
    scores = np.zeros(values.size)
    seen = values[observed]
    if seen.size < 2:
        return scores
    _, place, counts = np.unique(seen, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    normal = NormalDist()
    by_rank = np.array([normal.inv_cdf(float(rank) / (seen.size + 1)) for rank in middle])
    ranked = by_rank[place]
    scores[observed] = ranked - ranked.mean()
    return scores


def _effective(x: Values, y: Values) -> float:
    """Return how many independent pairs there are: memory of both series makes them fewer (Bartlett 1946)."""
    size = x.size
    product = _autocorrelation(x) * _autocorrelation(y)
    lags = min(48, size // 4)
    return float(np.clip(size / (1 + 2 * float(np.sum(product[1 : lags + 1]))), 8.0, size))


def _autocorrelation(values: Values) -> Values:
    padded = np.fft.rfft(values, n=2 * values.size)
    found = np.fft.irfft(padded * np.conj(padded))[: values.size]
    result: Values = found / max(float(found[0]), 1e-300)
    return result


def _fisher_interval(correlation: float, count: float) -> Interval:
    bounded = float(np.clip(correlation, -0.999, 0.999))
    margin = NormalDist().inv_cdf(0.975) / np.sqrt(count - 3)
    low, high = np.tanh(np.arctanh(bounded) - margin), np.tanh(np.arctanh(bounded) + margin)
    return Interval(bounded, float(low), float(high))


def _deviation(values: Values) -> float:
    """Return the standard deviation that the middle of the values has, wild hours left out."""
    low, high = np.quantile(values, (0.159, 0.841))
    return float(high - low) / 2
