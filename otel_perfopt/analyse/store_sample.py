"""How many runs are enough: what runs of each command differ and the interval asked for in, a number of traces out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_perfopt.measure.sql.run_spread import RunSpread

# Half the width of a mean's 95 % interval that is asked for, as a share of the mean.
HALF_WIDTH: Final = 0.03
LEAST_TRACES: Final = 5_000
_Z: Final = 1.96
# Runs of one conversation are alike, and savings vary more than times.
_DESIGN_EFFECT: Final = 2.0


def traces_needed(spread: Sequence[RunSpread], half_width: float = HALF_WIDTH) -> int:
    """Return how many traces, each command in its share, give the mean run time within `half_width` of itself.

    The size of a stratified sample with proportional allocation (Cochran 1977, ch. 5), times two for
    conversations; never under 5,000.
    """
    total = sum(one.traces for one in spread)
    mean = sum(one.traces * one.mean_s for one in spread) / total if total else 0.0
    if mean <= 0:
        return LEAST_TRACES
    within = sum(one.traces * one.variance for one in spread) / total
    return max(LEAST_TRACES, round(_DESIGN_EFFECT * (_Z / half_width) ** 2 * within / mean**2))
