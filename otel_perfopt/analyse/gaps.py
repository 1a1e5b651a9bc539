"""A series as numbers to compute with: a `Series` with gaps in, a filled array and the mask of what was observed out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.measure.measurement import Series
from otel_perfopt.measure.series import fill_gaps

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FilledValues:
    """A series without gaps: `values` and `observed` have one entry a bin; filled bins are not to be scored."""

    values: Values
    observed: NDArray[np.bool_]
    first_bin_ns: int
    step_s: float

    def phase(self, period_bins: int) -> NDArray[np.int64]:
        """Return each bin's place in its period, which starts at midnight UTC (a week's on Monday)."""
        # 1970-01-01 was a Thursday: four days later the first Monday began.
        since_monday_s = self.first_bin_ns // 1_000_000_000 - 4 * 86_400
        first = int(since_monday_s // self.step_s)
        places: NDArray[np.int64] = (first + np.arange(self.values.size, dtype=np.int64)) % period_bins
        return places


def fill(series: Series) -> FilledValues:
    """Fill the gaps as `fill_gaps` does; a series with nothing observed is filled with zeros."""
    observed = np.array([value is not None for value in series.values], dtype=np.bool_)
    filled = fill_gaps(series)
    values = np.zeros(observed.size) if filled is None else np.array(filled.values, dtype=np.float64)
    return FilledValues(values, observed, series.start_ns, series.step_s)
