"""The part of a report on time: trend, season and change points, or the reason why nothing can be said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.analyse.history import (
    ChangePoint,
    ComingWindow,
    Forecast,
    History,
    NotEnoughHistory,
    ResidualAlarm,
    Season,
    Trend,
)
from otel_perfopt.report.section import Chart, Section, Table
from otel_perfopt.report.series_chart import series_chart
from otel_perfopt.report.wording import moment, share, share_interval


def history(analysis: Analysis) -> Section | None:
    """Each series' trend, season and change points, what is to come, what rang, and what ties the series."""
    if not analysis.histories:
        return None
    told = tuple(item for item in analysis.histories if not _says_nothing(item))
    rows = tuple(
        (
            f"{item.name} ({item.unit.strip('{}')})" if item.unit else item.name,
            _trend(item.trend),
            _season(item.season),
            _changes(item),
        )
        for item in told
    )
    drawn = tuple(_drawn(item, analysis) for item in analysis.histories if not isinstance(item.trend, NotEnoughHistory))
    ahead = tuple(_outlook(item) for item in told if item.forecast is not None)
    tables = (
        Table(("series", "trend", "season", "change points"), rows),
        Table(("series", "next day and after", "coming highs and lows", "alarms"), ahead, title="To come"),
        *_ties(analysis),
    )
    return Section(
        "Over time",
        tuple(_silent(analysis.histories)),
        tables=tuple(table for table in tables if table.rows),
        charts=tuple(chart for chart in drawn if chart),
    )


def _says_nothing(item: History) -> bool:
    parts = (item.trend, item.season, item.change_points)
    return all(isinstance(part, NotEnoughHistory) for part in parts)


def _silent(histories: Sequence[History]) -> Iterator[str]:
    """Say once for all series of which nothing can be said why that is."""
    by_reason: dict[str, list[str]] = {}
    for item in histories:
        if _says_nothing(item) and isinstance(item.trend, NotEnoughHistory):
            by_reason.setdefault(item.trend.reason, []).append(item.name)
    for reason, names in by_reason.items():
        yield f"Nothing can be said yet of {', '.join(names)}: {reason}."


def _drawn(item: History, analysis: Analysis) -> Chart | None:
    return series_chart(item, [one for one in analysis.regressions if one.series == item.name])


def _outlook(item: History) -> tuple[str, str, str, str]:
    return item.name, _forecast(item.forecast), _coming(item.coming), _alarms(item.alarms)


def _forecast(value: Forecast | NotEnoughHistory | None) -> str:
    if value is None:
        return ""
    if isinstance(value, NotEnoughHistory):
        return value.reason
    bins = max(1, min(len(value.expected), round(86_400 / value.step_s)))
    mean, low, high = (sum(part[:bins]) / bins for part in (value.expected, value.low, value.high))
    held = f", {share(value.coverage)} held in trials" if value.coverage is not None else ""
    said = f"{mean:.3g} an hour on average (each in {low:.3g} to {high:.3g}{held})"
    better = (
        f"; error {share(1 - value.to_naive)} below seasonal-naive's" if value.to_naive < 1 else "; as seasonal-naive"
    )
    return said + better


def _coming(windows: tuple[ComingWindow, ...]) -> str:
    first = (next((item for item in windows if item.kind == kind), None) for kind in ("peak", "trough"))
    told = (
        f"{item.kind} {moment(item.start_ns)} to {moment(item.end_ns)}: {share_interval(item.relative)}"
        for item in first
        if item is not None
    )
    return "; ".join(told) or "none"


def _alarms(value: tuple[ResidualAlarm, ...] | NotEnoughHistory) -> str:
    if isinstance(value, NotEnoughHistory):
        return value.reason
    told = (f"{moment(item.start_ns)}: {item.observed:.3g}, expected {item.expected:.3g}" for item in value)
    return "; ".join(told) or "none"


def _ties(analysis: Analysis) -> tuple[Table, ...]:
    follows = tuple(
        (
            item.series,
            f"{item.lag_s / 3600:g} h",
            f"{item.correlation.estimate:.2f} ({item.correlation.low:.2f} to {item.correlation.high:.2f})",
            share_interval(item.relative) if item.relative is not None else "",
        )
        for item in analysis.correlations
    )
    worse = tuple(
        (
            item.series,
            moment(item.time_ns),
            f"{item.dimension}: {item.before} → {item.after}",
            share_interval(item.relative) if item.relative is not None else f"{item.shift.estimate:+.3g}",
            "; ".join(item.also),
        )
        for item in analysis.regressions
    )
    return (
        Table(("series", "after", "rank correlation", "a deviation more load"), follows, title="What follows the load"),
        Table(("series", "when", "what changed", "worse by", "changed as well"), worse, title="What became worse"),
    )


def _trend(value: Trend | NotEnoughHistory) -> str:
    if isinstance(value, NotEnoughHistory):
        return value.reason
    if value.relative_per_day is None:
        return f"{value.slope_per_day.estimate:+.3g} a day"
    sure = "" if value.significant else ", not significant"
    return f"{share_interval(value.relative_per_day)} a day{sure}"


def _season(value: Season | NotEnoughHistory) -> str:
    if isinstance(value, NotEnoughHistory):
        return value.reason
    found = (f"{item.name}, strength {item.strength:.2f}" for item in value.periods)
    return "; ".join(found) or "none found"


def _changes(item: History) -> str:
    points = item.change_points
    if isinstance(points, NotEnoughHistory):
        return points.reason
    return "; ".join(_change(point) for point in points) or "none found"


def _change(point: ChangePoint) -> str:
    size = share(point.relative.estimate) if point.relative else f"{point.shift.estimate:+.3g}"
    dated = f" ({'; '.join(point.dates_to)})" if point.dates_to else ""
    return f"{moment(point.time_ns)} {size}{dated}"
