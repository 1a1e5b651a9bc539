"""What series say as findings: the histories and what ties them in, a finding for each claim out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.histories import SeriesOutcome
from otel_perfopt.analyse.history import (
    ChangePoint,
    ComingWindow,
    History,
    LoadCorrelation,
    Regression,
    ResidualAlarm,
    Season,
    SeasonalPeriod,
    Trend,
)
from otel_perfopt.analyse.moment import day_and_hour
from otel_perfopt.analyse.run_changes import MODEL, POLICY
from otel_perfopt.analyse.seasonal_peak import PEAK, TROUGH
from otel_perfopt.analyse.wording import counted, percent, percent_range
from otel_perfopt.execution.model import Target
from otel_perfopt.measure.series import (
    CONCURRENCY,
    COUNT,
    ERROR_SHARE,
    LATENCY_MEAN,
    MEMORY,
    TOKENS,
    TOKENS_PER_RUN,
)

DETECTOR: Final = "history"
# What policies call a series' metric.
METRICS: Final = {
    COUNT: "load",
    LATENCY_MEAN: "latency",
    TOKENS: "tokens",
    TOKENS_PER_RUN: "tokens_per_run",
    ERROR_SHARE: "errors",
    CONCURRENCY: "concurrency",
    MEMORY: "memory",
}
_UNITS: Final = {LATENCY_MEAN: "s", TOKENS_PER_RUN: "{token}", ERROR_SHARE: "1"}
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WARM_UP_AHEAD: Final = "30m"
# How long what happened is news: a shift or regression is to be answered within a week, an alarm within a day.
SHIFT_LASTS_NS: Final = 7 * 86_400 * 1_000_000_000
ALARM_LASTS_NS: Final = 86_400 * 1_000_000_000


def series_findings(outcome: SeriesOutcome) -> list[Finding]:
    """Return a finding for each season, coming window, trend, shift, alarm, correlation and regression."""
    found = [finding for history in outcome.histories for finding in _of_history(history)]
    found += [_correlation(one) for one in outcome.correlations]
    by_name = {history.name: history for history in outcome.histories}
    found += [_regression(one, by_name[one.series]) for one in outcome.regressions]
    return found


def _of_history(history: History) -> Iterator[Finding]:
    if isinstance(history.season, Season):
        yield from (_season(history, period) for period in history.season.periods)
    for kind in (PEAK, TROUGH):
        window = next((item for item in history.coming if item.kind == kind), None)
        if window is not None:
            yield _coming(history, window)
    if isinstance(history.trend, Trend) and history.trend.significant:
        yield _trend(history, history.trend)
    if isinstance(history.change_points, tuple):
        yield from (_shift(history, change) for change in history.change_points)
    if isinstance(history.alarms, tuple):
        yield from (_alarm(history, alarm) for alarm in history.alarms)


def _finding(
    kind: str,
    history: History,
    summary: str,
    relative: Interval | None,
    absolute: Interval | None = None,
    *,
    occurrences: int = 1,
    window_ns: tuple[int, int] = (0, 0),
    suggestion: Suggestion | None = None,
) -> Finding:
    return Finding(
        kind=kind,
        target=history.series.target,
        summary=f"{summary[:1].upper()}{summary[1:]}",
        detector=DETECTOR,
        effect=Effect(METRICS[history.series.metric], history.unit, relative, absolute),
        window_ns=window_ns,
        occurrences=occurrences,
        suggestion=suggestion,
    )


def _season(history: History, period: SeasonalPeriod) -> Finding:
    peak = period.peak_relative
    above = f" {percent(peak)} above its level" if peak is not None else ""
    summary = (
        f"{history.name} has a {period.name} rhythm: its peak is{above}{_place(period)} and it explains "
        f"{percent(period.strength)} of what the trend leaves."
    )
    cycles = len(history.series.values) // period.bins
    return _finding("season", history, summary, _point(peak), occurrences=cycles)


def _place(period: SeasonalPeriod) -> str:
    if period.name == "daily":
        return f" at {period.peak_bin * 24 // period.bins:02d}:00 UTC"
    if period.name == "weekly":
        day, hour = divmod(period.peak_bin * 168 // period.bins, 24)
        return f" on {_DAYS[day]} {hour:02d}:00 UTC"
    return ""


def _coming(history: History, window: ComingWindow) -> Finding:
    peak = window.kind == PEAK
    side = "above" if peak else "below"
    for_what = "" if peak else " Heavy work fits there."
    summary = (
        f"{history.name} will be {percent_range(_size(window.relative))} {side} the typical {window.typical:.3g} "
        f"from {day_and_hour(window.start_ns)} to {day_and_hour(window.end_ns)}, "
        f"as in {counted(window.cycles, 'earlier cycle')}.{for_what}"
    )
    kind = "seasonal_peak" if peak else "seasonal_trough"
    suggestion = None
    if peak and history.series.metric in {COUNT, LATENCY_MEAN, CONCURRENCY}:
        when = {"finding": kind, "metric": METRICS[history.series.metric], "ahead": WARM_UP_AHEAD}
        suggestion = Suggestion("warm_up", match=_match(history.series.target), when=when)
    return _finding(
        kind,
        history,
        summary,
        window.relative,
        _point(window.expected),
        occurrences=window.cycles,
        window_ns=(window.start_ns, window.end_ns),
        suggestion=suggestion,
    )


def _trend(history: History, trend: Trend) -> Finding:
    relative = trend.relative_per_day
    direction = "rises" if trend.slope_per_day.estimate > 0 else "falls"
    pace = percent_range(_size(relative)) if relative is not None else f"{abs(trend.slope_per_day.estimate):.3g}"
    summary = f"{history.name} {direction} by {pace} a day, its rhythm and shifts left out."
    return _finding("trend", history, summary, relative, trend.slope_per_day)


def _shift(history: History, change: ChangePoint) -> Finding:
    direction = "rose" if change.shift.estimate > 0 else "fell"
    size = f" ({percent_range(_size(change.relative))})" if change.relative is not None else ""
    dated = f" At that time changed {'; '.join(change.dates_to)}." if change.dates_to else ""
    summary = (
        f"{history.name} {direction} for good at {day_and_hour(change.time_ns)}: "
        f"from {change.before:.3g} to {change.after:.3g}{size}.{dated}"
    )
    window_ns = (change.time_ns, change.time_ns + SHIFT_LASTS_NS)
    return _finding("change_point", history, summary, change.relative, change.shift, window_ns=window_ns)


def _alarm(history: History, alarm: ResidualAlarm) -> Finding:
    rare = f"one in {10 ** min(alarm.surprise, 12):,.0f}" if alarm.surprise < 12 else "less than one in 10^12"
    summary = (
        f"{history.name} was {alarm.observed:.3g} where {alarm.expected:.3g} was to be expected, "
        f"from {day_and_hour(alarm.start_ns)} on; its noise gets so far in {rare} hours."
    )
    relative = _point(alarm.observed / alarm.expected - 1) if alarm.expected > 0 else None
    difference = _point(alarm.observed - alarm.expected)
    return _finding(
        "residual_alarm",
        history,
        summary,
        relative,
        difference,
        window_ns=(alarm.start_ns, alarm.end_ns + ALARM_LASTS_NS),
    )


def _correlation(found: LoadCorrelation) -> Finding:
    r = found.correlation
    direction = "rises" if r.estimate > 0 else "falls"
    later = f", {found.lag_s / 3600:g} h later" if found.lag_bins else ""
    pace = f" by {percent_range(_size(found.relative))}" if found.relative is not None else ""
    suggestion = None
    if r.estimate > 0 and found.metric in {LATENCY_MEAN, ERROR_SHARE}:
        when = {"finding": "load_correlation", "metric": METRICS[found.metric]}
        suggestion = Suggestion("adaptive_concurrency", match={"command": ("*",)}, when=when)
    return Finding(
        kind="load_correlation",
        target=Target(),
        summary=(
            f"When the load is one standard deviation above its rhythm, the {found.series} {direction}{pace}{later}: "
            f"rank correlation {r.estimate:.2f} ({r.low:.2f} to {r.high:.2f}), by accident in "
            f"{percent(found.p_value)} of cases."
        ),
        detector=DETECTOR,
        effect=Effect(METRICS[found.metric], _UNITS[found.metric], found.relative),
        occurrences=1,
        suggestion=suggestion,
    )


def _regression(found: Regression, history: History) -> Finding:
    size = percent_range(found.relative) if found.relative is not None else f"{found.shift.estimate:.3g}"
    also = (
        f" At the same time changed {'; '.join(found.also)}: the series cannot tell them apart." if found.also else ""
    )
    summary = (
        f"{history.name} became worse by {size} at {day_and_hour(found.time_ns)}, when the {found.dimension} changed "
        f"from {found.before} to {found.after}. {_way_back(found)}{also}"
    )
    suggestion = None
    if found.dimension == MODEL and " + " not in found.before + found.after:
        when = {"finding": "regression", "metric": METRICS[found.metric]}
        suggestion = Suggestion("model_routing", {"model": found.before}, {"model": (found.after,)}, when)
    window_ns = (found.time_ns, found.time_ns + SHIFT_LASTS_NS)
    return _finding(
        "regression", history, summary, found.relative, found.shift, window_ns=window_ns, suggestion=suggestion
    )


def _way_back(found: Regression) -> str:
    if found.dimension == POLICY:
        return f"Roll back the policy's stage {found.after}, or find out why."
    return f"Roll back to {found.before}, or find out what {found.after} does differently."


def _match(target: Target) -> dict[str, tuple[str, ...]]:
    return {"command": (target.command or "*",)}


def _size(interval: Interval) -> Interval:
    if interval.estimate >= 0:
        return interval
    return Interval(-interval.estimate, -interval.high, -interval.low, interval.level)


def _point(value: float | None) -> Interval | None:
    return None if value is None else Interval(value, value, value)
