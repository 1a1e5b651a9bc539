"""The part of a report on people: preferences by command and satisfaction by policy in, tables out; nobody is named."""

from __future__ import annotations

from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.analyse.preference_profile import NONE_SHOWN, TOO_LITTLE, PreferenceRow
from otel_perfopt.report.section import Section, Table
from otel_perfopt.report.wording import UNKNOWN, count

_MOST_ROWS = 12


def preferences(analysis: Analysis) -> Section | None:
    """What users prefer, how that is known, and how satisfied each kind is by policy and arm."""
    found = analysis.preferences
    if not found.commands and not found.satisfaction:
        return None
    known = sum(row.users for row in found.commands if row.preference)
    shown = sum(row.users for row in found.commands if row.basis == NONE_SHOWN)
    little = sum(row.users for row in found.commands if row.basis == TOO_LITTLE)
    sentence = (
        f"Of pairs of a user and a command, {count(known)} have a preference that was stated or shown, "
        f"{count(shown)} show none, and of {count(little)} too little is known."
    )
    rows = tuple(
        (
            row.command,
            row.preference or "-",
            row.basis,
            count(row.users),
            count(row.runs),
            _score(row.satisfaction),
            _needed(row),
        )
        for row in found.commands[:_MOST_ROWS]
    )
    columns = ("command", "prefers", "known by", "users", "runs", "satisfaction", "still needed")
    liked = tuple(
        (row.policy, row.arm, row.preference, count(row.runs), count(row.rated), _score(row.satisfaction))
        for row in found.satisfaction[: 2 * _MOST_ROWS]
    )
    liked_columns = ("policy", "arm", "users who prefer", "runs", "rated", "satisfaction")
    tables = (
        Table(columns, rows, frozenset(columns[3:6]), "What users prefer"),
        Table(liked_columns, liked, frozenset(liked_columns[3:]), "Satisfaction by policy (descriptive)"),
    )
    return Section(
        "People",
        sentences=(sentence,) if found.commands else (),
        tables=tuple(table for table in tables if table.rows),
    )


def _needed(row: PreferenceRow) -> str:
    return f"{count(row.needed_runs)} runs" if row.needed_runs else ""


def _score(value: float | None) -> str:
    # Scores are whatever the host's users give: stars, thumbs, shares.
    return UNKNOWN if value is None else f"{value:.2f}"
