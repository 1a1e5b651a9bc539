"""Whether a change of the runs made a series worse: histories and dated changes in, regressions out."""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, sqrt
from typing import Final

import numpy as np

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.history import History, Regression
from otel_perfopt.analyse.load_correlation import Residual
from otel_perfopt.analyse.long_run import long_run
from otel_perfopt.analyse.run_changes import RunChange
from otel_perfopt.analyse.student_t import student_t
from otel_perfopt.measure.series import ERROR_SHARE, LATENCY_MEAN, TOKENS_PER_RUN

# What is worse when there is more of it. Load is nobody's regression.
JUDGED: Final = frozenset({LATENCY_MEAN, TOKENS_PER_RUN, ERROR_SHARE})
WINDOW_BINS = 168
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

    The date is known, so this needs less than finding a change point: the week before is compared with
    the week after (less where another change comes between), rhythm left out, with the long-run
    variance of both; `alpha` is shared by all pairs of series and change (Bonferroni).
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
    step_ns = residual.step_s * 1e9
    place = round((change.time_ns - residual.first_bin_ns) / step_ns)
    others = [
        round((other.time_ns - residual.first_bin_ns) / step_ns)
        for other in changes
        if abs(other.time_ns - change.time_ns) > SAME_TIME_S * 1e9
    ]
    start = max([0, place - WINDOW_BINS, *(other for other in others if other < place)])
    end = min([residual.values.size, place + WINDOW_BINS, *(other for other in others if other > place)])
    before = residual.values[start:place][residual.observed[start:place]] if place > start else residual.values[:0]
    after = residual.values[place:end][residual.observed[place:end]] if end > place else residual.values[:0]
    if min(before.size, after.size) < MIN_BINS:
        return None
    noise = long_run(np.concatenate((before - before.mean(), after - after.mean())), fitted=2)
    effective = noise.effective * min(before.size, after.size) / (before.size + after.size)
    if noise.wanders or effective < MIN_EFFECTIVE or noise.variance <= 0:
        return None
    level, shift = float(before.mean()), float(after.mean() - before.mean())
    error = sqrt(noise.variance * (1 / before.size + 1 / after.size))
    if shift <= error * student_t(alpha, noise.effective - 2) or (level > 0 and shift / level < MIN_RELATIVE):
        return None
    margin = error * student_t(0.05, noise.effective - 2)
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


def _together(one: RunChange, other: RunChange) -> bool:
    return abs(one.time_ns - other.time_ns) <= SAME_TIME_S * 1e9
