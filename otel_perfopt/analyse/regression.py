"""Whether a change of the runs made a series worse: histories and dated changes in, regressions out."""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.history import History, Regression
from otel_perfopt.analyse.load_correlation import Residual
from otel_perfopt.analyse.long_run import long_run
from otel_perfopt.analyse.run_changes import RunChange
from otel_perfopt.analyse.student_t import student_t
from otel_perfopt.measure.series import ERROR_SHARE, LATENCY_MEAN, TOKENS_PER_RUN

# What is worse when there is more of it. Load is nobody's regression.
JUDGED: Final = frozenset({LATENCY_MEAN, TOKENS_PER_RUN, ERROR_SHARE})
WINDOW_BINS = 336
MIN_BINS = 24
MIN_EFFECTIVE = 8.0
# A shift smaller than this is not worth taking anything back for.
MIN_RELATIVE = 0.03
# Changes this close together cannot be told apart by the series.
SAME_TIME_S = 6 * 3600.0


def regressions_of(
    histories: Sequence[tuple[History, Residual]], changes: Sequence[RunChange], *, alpha: float = 0.005
) -> tuple[Regression, ...]:
    """Return the series that became worse at a change; at most `alpha` of reports without any have one.

    The date is known, so this needs less than finding a change point: the two weeks before are compared
    with the two after, rhythm and what other changes did left out, with the long-run variance of what
    is left; `alpha` is shared by all pairs of series and change (Bonferroni).
    """
    judged = [(history, residual) for history, residual in histories if history.series.metric in JUDGED]
    tests = len(judged) * len(changes)
    found = [
        regression
        for change in changes
        for history, residual in judged
        if _concerns(change, history)
        and (regression := _compared(history, residual, change, changes, alpha / tests)) is not None
    ]
    return tuple(sorted(found, key=lambda item: (-(item.relative.estimate if item.relative else 0.0), item.series)))


def _concerns(change: RunChange, history: History) -> bool:
    target = history.series.target
    by_command = change.dimension in {"model", "prompt"} and bool(target.command)
    return not by_command or change.name in {"", target.command}


def _compared(
    history: History, residual: Residual, change: RunChange, changes: Sequence[RunChange], alpha: float
) -> Regression | None:
    fitted = _fitted(residual, change, changes)
    if fitted is None:
        return None
    level, shift, error, freedom = fitted
    if shift <= error * student_t(alpha, freedom) or (level > 0 and shift / level < MIN_RELATIVE):
        return None
    margin = error * student_t(0.05, freedom)
    interval = Interval(shift, shift - margin, shift + margin)
    return Regression(
        series=history.name,
        metric=history.series.metric,
        dimension=change.dimension,
        before=change.before,
        after=change.after,
        time_ns=change.time_ns,
        shift=interval,
        relative=Interval(shift / level, interval.low / level, interval.high / level) if level > 0 else None,
        p_value=erfc(shift / error / sqrt(2)),
        also=tuple(str(other) for other in changes if other is not change and _together(other, change)),
    )


def _fitted(
    residual: Residual, change: RunChange, changes: Sequence[RunChange]
) -> tuple[float, float, float, float] | None:
    """Return the level before a change, the shift there, its standard error and degrees of freedom; None: too little.

    A step at every other change of the two weeks either side is fitted along, so that what another
    one did is not taken for this one's, and none of the series need be left out.
    """
    step_ns = residual.step_s * 1e9
    place = round((change.time_ns - residual.first_bin_ns) / step_ns)
    start, end = max(0, place - WINDOW_BINS), min(residual.values.size, place + WINDOW_BINS)
    others = {
        round((other.time_ns - residual.first_bin_ns) / step_ns)
        for other in changes
        if abs(other.time_ns - change.time_ns) > SAME_TIME_S * 1e9
    }
    bins = np.arange(start, end)[residual.observed[start:end]] if end > start else np.arange(0)
    inside = sorted(other for other in others if min(_sides(bins, other)) > 0)
    nearest = [np.sum((bins >= low) & (bins < high)) for low, high in _segments(place, inside, start, end)]
    if min(nearest) < MIN_BINS:
        return None
    steps = np.column_stack([np.ones(bins.size), *(bins >= other for other in (place, *inside))]).astype(np.float64)
    inverse = np.linalg.pinv(steps.T @ steps)
    found = inverse @ steps.T @ residual.values[bins]
    noise = long_run(residual.values[bins] - steps @ found, fitted=steps.shape[1])
    # How many independent bins the shift's error is worth.
    effective = noise.effective / bins.size / float(inverse[1, 1])
    if noise.wanders or effective < MIN_EFFECTIVE or noise.variance <= 0:
        return None
    level = float(np.mean(residual.values[bins[(bins >= _segments(place, inside, start, end)[0][0]) & (bins < place)]]))
    return level, float(found[1]), sqrt(noise.variance * float(inverse[1, 1])), noise.effective - steps.shape[1]


def _segments(place: int, inside: Sequence[int], start: int, end: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the bins right before and right after a change in which nothing else changed."""
    before = max([start, *(other for other in inside if other < place)])
    after = min([end, *(other for other in inside if other > place)])
    return (before, place), (place, after)


def _sides(bins: NDArray[np.int64], place: int) -> tuple[int, int]:
    after = int(np.sum(bins >= place))
    return bins.size - after, after


def _together(one: RunChange, other: RunChange) -> bool:
    return abs(one.time_ns - other.time_ns) <= SAME_TIME_S * 1e9
