"""What changed over time: runs in, the histories of load, latency, tokens and errors and what ties them out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from otel_perfopt.analyse.decomposition import history_of, residual_of, with_outlook
from otel_perfopt.analyse.fan_out import SERIAL, fan_out
from otel_perfopt.analyse.history import ChangePoint, History, LoadCorrelation, NotEnoughHistory, Regression
from otel_perfopt.analyse.load_correlation import load_correlations
from otel_perfopt.analyse.regression import regressions_of
from otel_perfopt.analyse.run_changes import RunChange, RunChanges
from otel_perfopt.execution.model import Execution, Target
from otel_perfopt.measure.measurement import Series
from otel_perfopt.measure.series import (
    CONCURRENCY,
    COUNT,
    ERROR_SHARE,
    LATENCY_MEAN,
    MEMORY,
    TOKENS,
    TOKENS_PER_RUN,
    SeriesBuilder,
)

# The chance of any false claim in a report is 5 %, and these are its parts.
ALPHA_HISTORIES, ALPHA_CORRELATIONS, ALPHA_REGRESSIONS = 0.035, 0.01, 0.005
MIN_ACTIVE_BINS = 24
MIN_ACTIVE_SHARE = 0.1
MAX_COMMANDS = 3
# A shift is known to a few bins only.
DATED_WITHIN_BINS = 8
# What is asked of all runs together, and of each of the busiest commands: name and unit by metric.
_OVERALL = {
    COUNT: ("runs an hour", "{run}"),
    LATENCY_MEAN: ("mean run time", "s"),
    TOKENS: ("tokens an hour", "{token}"),
    TOKENS_PER_RUN: ("tokens a run", "{token}"),
    ERROR_SHARE: ("share of runs that failed", "1"),
    CONCURRENCY: ("runs at once", "{run}"),
    MEMORY: ("memory a process holds", "By"),
}
_BY_COMMAND = {LATENCY_MEAN: ("mean run time of", "s"), COUNT: ("runs an hour of", "{run}")}
# What may follow the load; what grows with it by definition may not.
_MAY_FOLLOW = frozenset({LATENCY_MEAN, TOKENS_PER_RUN, ERROR_SHARE})
Asked = tuple[Series, str, str]


@dataclass(frozen=True, slots=True)
class SeriesOutcome:
    """Every series' history, which of them follow the load, and which became worse at a change of the runs."""

    histories: tuple[History, ...] = ()
    correlations: tuple[LoadCorrelation, ...] = ()
    regressions: tuple[Regression, ...] = ()


class Histories:
    """Sorts runs by hour and, once all are read, takes each series apart.

    The chance of any false claim in the report is 5 %: each question to each series gets its share of
    that. `commands` are how many commands have series of their own; with many, `workers` share the
    work over a joblib `backend`.
    """

    def __init__(self, *, commands: int = MAX_COMMANDS, workers: int = 1, backend: str = SERIAL) -> None:
        self._hours = SeriesBuilder()
        self._changes = RunChanges()
        self._commands = commands
        self._workers = workers
        self._backend = backend

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        self._hours.add(execution)
        self._changes.observe(execution)

    def believe(self, hours: SeriesBuilder) -> None:
        """Put hours that a store has added up over all runs in the place of those of the runs observed."""
        # What a store adds up is times and tokens; memory is known of the runs that were looked into.
        hours.take_memory(self._hours)
        self._hours = hours

    def outcome(self) -> SeriesOutcome:
        """Return what the series say; empty without clocks."""
        return outcome_of(list(self._asked()), self._changes.changes(), self._workers, self._backend)

    def _asked(self) -> Iterator[Asked]:
        for metric, (name, unit) in _OVERALL.items():
            series = self._hours.series(metric)
            # A series of zeros (no run ever failed) asks no question.
            if series is not None and any(series.values):
                yield series, name, unit
        commands = [target for target in self._hours.targets() if target != Target()]
        if len(commands) < 2:
            return
        runs = {target: _total(self._hours.series(COUNT, target)) for target in commands}
        for target in sorted(commands, key=lambda item: (-runs[item], str(item)))[: self._commands]:
            for metric, (name, unit) in _BY_COMMAND.items():
                series = self._hours.series(metric, target)
                if series is not None:
                    yield series, f"{name} {target.command or 'unnamed runs'}", unit


def outcome_of(
    asked: Sequence[Asked], changes: Sequence[RunChange] = (), workers: int = 1, backend: str = SERIAL
) -> SeriesOutcome:
    """Take each series (with its name and unit) apart and say what ties them to the load and to `changes`."""
    if not asked:
        return SeriesOutcome()
    work = partial(_history, alpha=ALPHA_HISTORIES / len(asked))
    histories = fan_out(asked, work, workers, backend)
    judged = [(one, residual_of(one, only_season=True)) for one in histories if _has_history(one)]
    return SeriesOutcome(
        histories=tuple(_dated(one, changes) for one in histories),
        correlations=_correlations(histories),
        regressions=regressions_of(judged, changes, alpha=ALPHA_REGRESSIONS),
    )


def _total(series: Series | None) -> float:
    return sum(value or 0.0 for value in series.values) if series is not None else 0.0


def _history(asked: Asked, *, alpha: float) -> History:
    series, name, unit = asked
    active = sum(bool(value) for value in series.values)
    needs = max(MIN_ACTIVE_BINS, round(MIN_ACTIVE_SHARE * len(series.values)))
    if active < needs:
        reason = f"something happened in only {active} of {len(series.values)} hours; at least {needs} are needed"
        nothing = NotEnoughHistory(reason, active, needs)
        return History(name, unit, series, nothing, nothing, nothing, nothing, (), nothing)
    return with_outlook(history_of(series, name, unit, alpha=alpha), alpha=alpha)


def _has_history(history: History) -> bool:
    return not isinstance(history.change_points, NotEnoughHistory)


def _correlations(histories: Sequence[History]) -> tuple[LoadCorrelation, ...]:
    everybody = {one.series.metric: one for one in histories if one.series.target == Target() and _has_history(one)}
    load = everybody.get(COUNT)
    if load is None:
        return ()
    others = [residual_of(one) for metric, one in everybody.items() if metric in _MAY_FOLLOW]
    return load_correlations(residual_of(load), others, alpha=ALPHA_CORRELATIONS)


def _dated(history: History, changes: Sequence[RunChange]) -> History:
    """Name what changed about the runs in the hours around each shift."""
    if not isinstance(history.change_points, tuple) or not changes:
        return history
    near_ns = DATED_WITHIN_BINS * history.series.step_s * 1e9

    def dated(point: ChangePoint) -> ChangePoint:
        near = tuple(str(change) for change in changes if abs(change.time_ns - point.time_ns) <= near_ns)
        return replace(point, dates_to=near)

    return replace(history, change_points=tuple(dated(point) for point in history.change_points))
