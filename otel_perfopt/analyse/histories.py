"""What changed over time: runs in, the histories of load, latency, tokens and errors and findings from them out."""

from __future__ import annotations

from collections.abc import Iterator

from otel_perfopt.analyse.decomposition import history_of
from otel_perfopt.analyse.finding import Effect, Finding, Interval
from otel_perfopt.analyse.history import ChangePoint, History, NotEnoughHistory, Season, SeasonalPeriod, Trend
from otel_perfopt.analyse.moment import day_and_hour
from otel_perfopt.analyse.wording import percent, percent_range
from otel_perfopt.execution.model import Execution, Target
from otel_perfopt.measure.measurement import Series
from otel_perfopt.measure.series import COUNT, ERRORS, LATENCY_MEAN, TOKENS, SeriesBuilder

ALPHA = 0.05
MIN_ACTIVE_BINS = 24
MIN_ACTIVE_SHARE = 0.1
MAX_COMMANDS = 3
# What is asked of all runs together: name and unit by metric.
_OVERALL = {
    COUNT: ("runs an hour", "{run}"),
    LATENCY_MEAN: ("mean run time", "s"),
    TOKENS: ("tokens an hour", "{token}"),
    ERRORS: ("failed runs an hour", "{run}"),
}
_METRICS = {COUNT: "load", LATENCY_MEAN: "latency", TOKENS: "tokens", ERRORS: "errors"}


class Histories:
    """Sorts runs by hour and, once all are read, takes each series apart.

    The chance of any false claim in the report is 5 %: each series gets its share of that.
    """

    name = "history"

    def __init__(self) -> None:
        self._hours = SeriesBuilder()

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        self._hours.add(execution)

    def result(self) -> tuple[History, ...]:
        """Return the history of every series asked about; empty without clocks."""
        asked = list(self._asked())
        return tuple(_history(series, name, unit, ALPHA / len(asked)) for series, name, unit in asked)

    def _asked(self) -> Iterator[tuple[Series, str, str]]:
        for metric, (name, unit) in _OVERALL.items():
            series = self._hours.series(metric)
            # A series of zeros (no run ever failed) asks no question.
            if series is not None and any(series.values):
                yield series, name, unit
        commands = [target for target in self._hours.targets() if target != Target()]
        if len(commands) < 2:
            return
        runs = {target: _total(self._hours.series(COUNT, target)) for target in commands}
        for target in sorted(commands, key=lambda item: (-runs[item], str(item)))[:MAX_COMMANDS]:
            series = self._hours.series(LATENCY_MEAN, target)
            if series is not None:
                yield series, f"mean run time of {target.command or 'unnamed runs'}", "s"


def _total(series: Series | None) -> float:
    return sum(value or 0.0 for value in series.values) if series is not None else 0.0


def _history(series: Series, name: str, unit: str, alpha: float) -> History:
    active = sum(bool(value) for value in series.values)
    needs = max(MIN_ACTIVE_BINS, round(MIN_ACTIVE_SHARE * len(series.values)))
    if active < needs:
        reason = f"something happened in only {active} of {len(series.values)} hours; at least {needs} are needed"
        nothing = NotEnoughHistory(reason, active, needs)
        return History(name, unit, series, nothing, nothing, nothing)
    return history_of(series, name, unit, alpha=alpha)


def history_findings(histories: tuple[History, ...]) -> list[Finding]:
    """Return a finding for each season, significant trend and lasting shift."""
    found: list[Finding] = []
    for history in histories:
        if isinstance(history.season, Season):
            found.extend(_season(history, period) for period in history.season.periods)
        if isinstance(history.trend, Trend) and history.trend.significant:
            found.append(_trend(history, history.trend))
        if isinstance(history.change_points, tuple):
            found.extend(_shift(history, change) for change in history.change_points)
    return found


def _season(history: History, period: SeasonalPeriod) -> Finding:
    peak = period.peak_relative
    above = f" {percent(peak)} above its level" if peak is not None else ""
    where = _place(period)
    return Finding(
        kind="season",
        target=history.series.target,
        summary=(
            f"{_upper(history.name)} has a {period.name} rhythm: its peak is{above}{where} and it explains "
            f"{percent(period.strength)} of what the trend leaves."
        ),
        detector=Histories.name,
        effect=Effect(_METRICS[history.series.metric], history.unit, _point(peak)),
        occurrences=len(history.series.values) // period.bins,
    )


def _place(period: SeasonalPeriod) -> str:
    if period.name == "daily":
        return f" at {period.peak_bin * 24 // period.bins:02d}:00 UTC"
    if period.name == "weekly":
        day, hour = divmod(period.peak_bin * 168 // period.bins, 24)
        return f" on {('Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday')[day]} {hour:02d}:00 UTC"
    return ""


def _trend(history: History, trend: Trend) -> Finding:
    relative = trend.relative_per_day
    direction = "rises" if trend.slope_per_day.estimate > 0 else "falls"
    pace = percent_range(_absolute(relative)) if relative is not None else f"{abs(trend.slope_per_day.estimate):.3g}"
    return Finding(
        kind="trend",
        target=history.series.target,
        summary=f"{_upper(history.name)} {direction} by {pace} a day, its rhythm and shifts left out.",
        detector=Histories.name,
        effect=Effect(_METRICS[history.series.metric], history.unit, relative, trend.slope_per_day),
        occurrences=1,
    )


def _shift(history: History, change: ChangePoint) -> Finding:
    direction = "rose" if change.shift.estimate > 0 else "fell"
    size = f" ({percent_range(_absolute(change.relative))})" if change.relative is not None else ""
    return Finding(
        kind="change_point",
        target=history.series.target,
        summary=(
            f"{_upper(history.name)} {direction} for good at {day_and_hour(change.time_ns)}: "
            f"from {change.before:.3g} to {change.after:.3g}{size}."
        ),
        detector=Histories.name,
        effect=Effect(_METRICS[history.series.metric], history.unit, change.relative, change.shift),
        occurrences=1,
    )


def _absolute(interval: Interval) -> Interval:
    if interval.estimate >= 0:
        return interval
    return Interval(-interval.estimate, -interval.high, -interval.low, interval.level)


def _point(value: float | None) -> Interval | None:
    return None if value is None else Interval(value, value, value)


def _upper(name: str) -> str:
    return name[:1].upper() + name[1:]
