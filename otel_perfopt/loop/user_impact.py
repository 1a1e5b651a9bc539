"""What a change meant for the people behind the conversations: units in, each arm's rates by kind of user out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from otel_perfopt.decide.allocation import BASELINE, TREATMENT
from otel_perfopt.verify import metric_kind
from otel_perfopt.verify.verdict import Unit

EVERYBODY = "everybody"
# By conversations in the comparison; who is not known has no kind of their own.
_REGULAR, _HEAVY = 2, 10
_MEASURED = (metric_kind.SATISFACTION, metric_kind.INTERRUPTED, metric_kind.COMPLETION)
_LEAST_UNITS = 5
_MOST_SEGMENTS = 20


def user_impact(units: Iterable[Unit]) -> Mapping[str, Any]:
    """Return by kind of user, and for everybody, the mean satisfaction, interruption and completion of each arm.

    Kinds are those the host names on its spans, of the others `new` (one conversation), `regular` (2 to 9),
    `heavy` (10 and more) and `unknown`; at most 20 of them. Beside them stands what users prefer (`prefers
    speed`). A kind with fewer than five units in an arm is left out, and so is a number nobody measured.
    Descriptive: what holds for all is tested by the comparison, where a policy names the metric.
    """
    rows = list(units)
    seen = Counter(unit.user_id for unit in rows if unit.user_id)
    segments: dict[str, list[Unit]] = defaultdict(list)
    for unit in rows:
        segments[EVERYBODY].append(unit)
        if unit.preference:
            segments[f"prefers {unit.preference}"].append(unit)
        kind = unit.segment or segment_of(seen[unit.user_id] if unit.user_id else 0)
        if kind in segments or len(segments) < _MOST_SEGMENTS:
            segments[kind].append(unit)
    found = {name: _arms(members) for name, members in segments.items()}
    return {name: arms for name, arms in sorted(found.items()) if arms}


def segment_of(conversations: int) -> str:
    """Return the kind of user who had so many conversations; nobody knows whose they are at zero."""
    if not conversations:
        return "unknown"
    return "heavy" if conversations >= _HEAVY else "regular" if conversations >= _REGULAR else "new"


def _arms(units: Sequence[Unit]) -> Mapping[str, Any]:
    arms = {arm: [unit for unit in units if unit.arm == arm] for arm in (TREATMENT, BASELINE)}
    if min(len(members) for members in arms.values()) < _LEAST_UNITS:
        return {}
    return {arm: {"units": len(members), **_means(members)} for arm, members in arms.items()}


def _means(units: Sequence[Unit]) -> Mapping[str, float]:
    values = {metric: [unit.values[metric] for unit in units if metric in unit.values] for metric in _MEASURED}
    return {metric: round(sum(some) / len(some), 6) for metric, some in values.items() if some}
