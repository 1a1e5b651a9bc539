"""The part of a report that shows one slow run step by step, its critical path marked."""

from __future__ import annotations

from otel_perfopt.analyse.analysis import Analysis, Bar, Waterfall
from otel_perfopt.report import charts
from otel_perfopt.report.section import Section, Table
from otel_perfopt.report.wording import seconds

_MOST_ROWS = 12


def slow_run(analysis: Analysis) -> Section | None:
    """The slowest typical run: drawn as a waterfall, and its longest stretches of critical path as a table."""
    drawn = analysis.waterfall
    if drawn is None:
        return None
    where = f" ({drawn.location})" if drawn.location else ""
    sentence = f"{drawn.command} of trace {drawn.trace_id}{where} took {seconds(drawn.duration_s)}."
    return Section(
        "A slow run, step by step",
        (sentence, "What it waited for longest, of the steps on its critical path:"),
        tables=(_longest(drawn),),
        charts=(charts.waterfall(drawn),),
    )


def _longest(drawn: Waterfall) -> Table:
    ranked = sorted(drawn.bars, key=_critical_s, reverse=True)[:_MOST_ROWS]
    rows = tuple(
        (bar.name, str(bar.kind), seconds(bar.start_s), seconds(_critical_s(bar)), bar.error_type or "")
        for bar in ranked
        if _critical_s(bar) > 0
    )
    return Table(
        ("step", "kind", "starts at", "on the critical path", "error"),
        rows,
        frozenset({"starts at", "on the critical path"}),
    )


def _critical_s(bar: Bar) -> float:
    return sum(end - start for start, end in bar.critical)
