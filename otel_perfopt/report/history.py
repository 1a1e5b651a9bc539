"""The part of a report on time: trend, season and change points, or the reason why nothing can be said."""

from __future__ import annotations

from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.analyse.history import ChangePoint, History, NotEnoughHistory, Season, Trend
from otel_perfopt.report import charts
from otel_perfopt.report.section import Section, Table
from otel_perfopt.report.wording import moment, share, share_interval


def history(analysis: Analysis) -> Section | None:
    """Each series' trend, season and change points."""
    if not analysis.histories:
        return None
    rows = tuple(
        (
            f"{item.name} ({item.unit})" if item.unit else item.name,
            _trend(item.trend),
            _season(item.season),
            _changes(item),
        )
        for item in analysis.histories
    )
    drawn = tuple(charts.series(item) for item in analysis.histories if not isinstance(item.trend, NotEnoughHistory))
    return Section(
        "Over time",
        tables=(Table(("series", "trend", "season", "change points"), rows),),
        charts=tuple(chart for chart in drawn if chart),
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
    return f"{moment(point.time_ns)} {size}"
