"""Gaps of a regular series: a `Series` with None in, a filled array and the mask of what was observed out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.measure.measurement import Series

SHORT_GAP_BINS = 3

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FilledSeries:
    """A series without gaps: `values` and `observed` have one entry a bin; filled bins are not to be scored.

    `first_bin_ns` and `step_s` give the clock; `phase(period)` numbers each bin within a period that
    starts at midnight UTC (a week's on Monday).
    """

    values: Values
    observed: NDArray[np.bool_]
    first_bin_ns: int
    step_s: float

    def phase(self, period_bins: int) -> NDArray[np.int64]:
        """Return each bin's place in its period, 0 to `period_bins` - 1."""
        # 1970-01-01 was a Thursday: four days later the first Monday began.
        since_monday_s = self.first_bin_ns // 1_000_000_000 - 4 * 86_400
        first = int(since_monday_s // self.step_s)
        return (first + np.arange(self.values.size, dtype=np.int64)) % period_bins


def fill(series: Series) -> FilledSeries:
    """Fill gaps: up to three bins by a straight line, longer ones by the median of the same hour of the week.

    Where that hour was never seen, the same hour of the day stands in, then the whole series' median.
    A series with nothing observed is filled with zeros.
    """
    raw = np.array([np.nan if value is None else value for value in series.values], dtype=np.float64)
    raw[~np.isfinite(raw)] = np.nan
    observed = ~np.isnan(raw)
    filled = FilledSeries(raw, observed, series.start_ns, series.step_s)
    if not observed.any():
        return FilledSeries(np.zeros_like(raw), observed, series.start_ns, series.step_s)
    values = raw.copy()
    index = np.arange(raw.size)
    short = _short_gaps(observed)
    values[short] = np.interp(index[short], index[observed], raw[observed])
    for hours in (168, 24):
        _fill_by_phase(values, raw, filled.phase(max(1, round(hours * 3600 / series.step_s))))
    values[np.isnan(values)] = np.nanmedian(raw)
    return FilledSeries(values, observed, series.start_ns, series.step_s)


def _short_gaps(observed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], ~observed, [False])).astype(np.int8)))
    short = np.zeros_like(observed)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        inside = start > 0 and end < observed.size
        if inside and end - start <= SHORT_GAP_BINS:
            short[start:end] = True
    return short


def _fill_by_phase(values: Values, raw: Values, phase: NDArray[np.int64]) -> None:
    missing = np.isnan(values)
    for place in np.unique(phase[missing]):
        same = raw[(phase == place) & ~np.isnan(raw)]
        if same.size:
            values[missing & (phase == place)] = np.median(same)
