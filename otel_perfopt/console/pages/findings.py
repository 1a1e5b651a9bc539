"""What was found: the last analysis in, a list to filter and one page a finding out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.responses import Response

from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.analyse.finding import Finding
from otel_perfopt.analyse.finding_kinds import FINDING_KINDS
from otel_perfopt.analyse.history import History, NotEnoughHistory
from otel_perfopt.analyse.recommendation import Recommendation
from otel_perfopt.analyse.series_findings import METRICS
from otel_perfopt.console.desk import Visit
from otel_perfopt.console.drawing.series_chart import (
    draws_changes,
    draws_rhythm,
    last_text,
    series_chart,
    sparkline,
)
from otel_perfopt.console.drawing.share_bars import share_bar
from otel_perfopt.console.loop_thread import Seen
from otel_perfopt.execution.model import Target
from otel_perfopt.report.wording import effect, seconds, share

_OF_SERIES = frozenset(
    {
        "trend",
        "season",
        "change_point",
        "seasonal_peak",
        "seasonal_trough",
        "residual_alarm",
        "load_correlation",
        "regression",
    }
)
_MOST_SHARES = 12


@dataclass(frozen=True, slots=True)
class Found:
    """One finding as the list shows it."""

    key: str
    finding: Finding
    kind: str
    where: str
    size: str
    acts: str
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShareRow:
    """One part of the runs' time."""

    name: str
    kind: str
    share: str
    time: str
    bar: Markup


def findings(visit: Visit) -> Response:
    """Show the list."""
    seen = visit.desk.loop.seen
    if seen is None:
        return visit.page("starting.html", 503)
    query = visit.request.query_params
    kind, where, acting = query.get("kind", ""), query.get("where", "").strip(), query.get("acting", "")
    every = [_found(finding, seen) for finding in seen.findings]
    shown = [one for one in every if _fits(one, kind, where, acting)]
    histories = seen.analysis.histories if seen.analysis is not None else ()
    drawn = [
        (item.name, last_text(item), sparkline(item.series.values, item.name))
        for item in histories
        if item.series.target == Target()
    ]
    return visit.page(
        "findings.html",
        found=shown,
        total=len(every),
        kinds=sorted({one.finding.kind for one in every}),
        kind=kind,
        where=where,
        acting=acting,
        analysis=seen.analysis,
        waits_for=_waits_for(histories),
        sparks=[(name, last, spark) for name, last, spark in drawn if spark is not None],
    )


def _waits_for(histories: Sequence[History]) -> tuple[str, ...]:
    """Return what cannot be said of the runs' series yet: how much there is of how much is needed."""
    found: dict[str, str] = {}
    for history in histories:
        for what, part in (
            ("rhythm", history.season),
            ("trend", history.trend),
            ("lasting change", history.change_points),
        ):
            if isinstance(part, NotEnoughHistory) and part.needs:
                found.setdefault(what, f"{what}: {part.has} of {part.needs} hours with data")
    return tuple(found.values())


def finding(visit: Visit) -> Response:
    """Show one finding with what shows it and what to do about it."""
    seen, key = visit.desk.loop.seen, visit.request.path_params["key"]
    one = next((found for item in (seen.findings if seen else ()) if (found := _found(item, seen)).key == key), None)
    if seen is None or seen.analysis is None or one is None:
        raise HTTPException(404, "there is no such finding now; the analysis since did not find it")
    drawn = [(_drawn_of(history), series_chart(history)) for history in _histories(one.finding, seen.analysis)]
    return visit.page(
        "finding.html",
        one=one,
        says=FINDING_KINDS[one.finding.kind].says if one.finding.kind in FINDING_KINDS else "",
        charts=[(parts, chart) for parts, chart in drawn if chart is not None],
        shares=_shares(one.finding, seen.analysis),
        recommendation=_recommendation(one.finding, seen.analysis),
    )


@dataclass(frozen=True, slots=True)
class DrawnParts:
    """What a series' drawing shows, for its legend."""

    name: str
    rhythm: bool
    changes: bool


def _drawn_of(history: History) -> DrawnParts:
    return DrawnParts(history.name, draws_rhythm(history), draws_changes(history))


def finding_key(finding: Finding) -> str:
    """Return a finding's part of the address: the same for as long as it is found of the same target."""
    acts = finding.suggestion.optimization if finding.suggestion is not None else ""
    began = finding.window_ns[0] if finding.kind in _OF_SERIES else 0
    return sha256(f"{finding.label}|{finding.effect.metric}|{acts}|{began}".encode()).hexdigest()[:16]


def _found(finding: Finding, seen: Seen | None) -> Found:
    wanted = finding.suggestion.optimization if finding.suggestion is not None else ""
    statuses = seen.statuses if seen is not None else ()
    answers = tuple(
        status.name
        for status in statuses
        if status.policy.metadata.annotations.get("perfopt.dev/finding") == finding.label
        and status.policy.spec.optimize.type == wanted
    )
    return Found(
        key=finding_key(finding),
        finding=finding,
        kind=finding.kind.replace("_", " "),
        where=str(finding.target),
        size=effect(finding.effect),
        acts=wanted,
        policies=answers,
    )


def _fits(one: Found, kind: str, where: str, acting: str) -> bool:
    if kind and one.finding.kind != kind:
        return False
    if where and where.lower() not in f"{one.where} {one.finding.summary}".lower():
        return False
    return acting != "yes" or bool(one.acts)


def _histories(finding: Finding, analysis: Analysis) -> list[History]:
    if finding.kind not in _OF_SERIES:
        return []
    return [
        history
        for history in analysis.histories
        if history.series.target == finding.target and METRICS[history.series.metric] == finding.effect.metric
    ]


def _shares(finding: Finding, analysis: Analysis) -> list[ShareRow]:
    """Return where the runs' time goes, for findings that speak of it."""
    if finding.effect.metric != "latency" or finding.kind in _OF_SERIES:
        return []
    steps = [*analysis.tools, *analysis.models]
    rows = [(row.name, "step", row.critical_share, row.critical_s) for row in steps if row.critical_share]
    rows += [(one.what, "all of a kind", one.share, one.total_s) for one in analysis.time_shares]
    ranked = sorted(rows, key=lambda row: -(row[2] or 0.0))[:_MOST_SHARES]
    return [ShareRow(name, kind, share(part), seconds(time_s), share_bar(part)) for name, kind, part, time_s in ranked]


def _recommendation(finding: Finding, analysis: Analysis) -> Recommendation | None:
    wanted = finding.suggestion.optimization if finding.suggestion is not None else ""
    same = (one for one in analysis.recommendations if one.implementation.optimization == wanted)
    return next((one for one in same if finding.label in one.findings), None)
