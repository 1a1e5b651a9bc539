"""When a rhythm's next highs and lows come: a filled series, its period and forecast in, windows with heights out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.gaps import FilledValues, Values
from otel_perfopt.analyse.history import ComingWindow, Forecast
from otel_perfopt.analyse.student_t import student_t

PEAK, TROUGH = "peak", "trough"
LEVEL = 0.9
MIN_CYCLES = 3
TYPICAL_CYCLES = 8
# A window is where the curve is more than half way from typical to its height.
HALF = 0.5
SMOOTHED_BINS = 3


def coming_windows(filled: FilledValues, period: int, forecast: Forecast) -> tuple[ComingWindow, ...]:
    """Return the peaks and troughs that `forecast` shows, those that have begun included, in order of time.

    Each has the interval that its height should fall into, from how the same hours stood in past
    cycles; where that does not exclude the typical level there is no window. Empty where the series'
    typical level is not positive, or below three cycles.
    """
    rhythm = _Rhythm(filled, period, forecast, float(np.median(filled.values[-TYPICAL_CYCLES * period :])))
    if rhythm.typical <= 0 or filled.values.size < MIN_CYCLES * period:
        return ()
    # What has begun started before the forecast did.
    curve = _smoothed(np.concatenate((filled.values[-period:], np.array(forecast.expected))))
    found = []
    for kind, sign in ((PEAK, 1.0), (TROUGH, -1.0)):
        reach = sign * (curve - rhythm.typical)
        height = float(np.quantile(reach[-period:] if reach.size >= 2 * period else reach, 0.95))
        if height <= 0:
            continue
        for start, end in _runs(reach > HALF * height):
            window = rhythm.window(kind, start - period, end - period) if end > period else None
            found += [window] if window is not None else []
    return tuple(sorted(found, key=lambda window: (window.start_ns, window.kind)))


@dataclass(frozen=True, slots=True)
class _Rhythm:
    """A series, its period and forecast; bins are counted from the forecast's first (negative: past)."""

    filled: FilledValues
    period: int
    forecast: Forecast
    typical: float

    def window(self, kind: str, start: int, end: int) -> ComingWindow | None:
        """Describe a window of bins; None where past cycles do not show it above (below) the typical level."""
        heights = self._past_heights(start, end)
        if heights.size < MIN_CYCLES:
            return None
        begun = self.filled.values[start:] if start < 0 else self.filled.values[:0]
        expected = float(np.concatenate((begun, np.array(self.forecast.expected)[max(0, start) : end])).mean())
        estimate = expected / self.typical - 1
        spread = float(heights.std(ddof=1)) * float(np.sqrt(1 + 1 / heights.size))
        margin = spread * student_t(1 - LEVEL, heights.size - 1)
        relative = Interval(estimate, estimate - margin, estimate + margin, LEVEL)
        if (relative.low if kind == PEAK else -relative.high) <= 0:
            return None
        first_ns, step_ns = self.forecast.start_ns, self.forecast.step_s * 1e9
        return ComingWindow(
            kind=kind,
            start_ns=first_ns + round(start * step_ns),
            end_ns=first_ns + round(end * step_ns),
            expected=expected,
            typical=self.typical,
            relative=relative,
            cycles=int(heights.size),
        )

    def _past_heights(self, start: int, end: int) -> Values:
        """Return how far the same bins lay from the typical level in each past cycle, as a share of it."""
        values, size, period = self.filled.values, self.filled.values.size, self.period
        heights = []
        for cycle in range(1, TYPICAL_CYCLES + 1):
            low, high = size + start - cycle * period, size + end - cycle * period
            if low < 0 or high > size:
                continue
            level = float(np.median(values[high - period : high] if high >= period else values[:period]))
            if level > 0 and self.filled.observed[low:high].mean() >= HALF:
                heights.append(float(values[low:high].mean()) / level - 1)
        return np.array(heights)


def _smoothed(values: Values) -> Values:
    padded = np.pad(values, SMOOTHED_BINS // 2, mode="edge")
    return np.convolve(padded, np.ones(SMOOTHED_BINS) / SMOOTHED_BINS, mode="valid")


def _runs(marked: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], marked, [False])).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
