"""What ended roll-outs came to: ledger entries in, one `TrialOutcome` a trial out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.rollout import METRICS
from otel_perfopt.decide.state import EXTEND_EVENT, RETRY_EVENT, State

PROMOTED, TAKEN_BACK, WITHOUT_VERDICT, BENEFIT_GONE = "promoted", "taken back", "without a verdict", "benefit gone"
_PREDICTED = "perfopt.dev/predicted"
_EXPOSED_FROM = frozenset({str(State.SHADOW), str(State.CANARY), str(State.ACTIVE)})
# Units a day from which a load counts as the next higher one.
_LOADS = ((1000.0, "high"), (100.0, "medium"), (0.0, "low"))


@dataclass(frozen=True, slots=True)
class Context:
    """Where something was tried: the patterns of the policy's match, and how many units a day came."""

    command: str = "*"
    tool: str = "*"
    model: str = "*"
    load: str = ""

    def __str__(self) -> str:
        parts = [part for part in (self.command, self.tool, self.model) if part != "*"]
        return " · ".join([*(parts or ["everything"]), *([f"{self.load} load"] if self.load else [])])


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """One trial of one digest: where it was tried, how it ended and why, what was predicted and what was measured.

    `predicted` and `realised` are shares saved (0.2 = 20 % better), whichever way the metric is better;
    `realised` is None where the metric is counted in points or nothing was measured.
    """

    policy: str
    digest: str
    optimization: str
    context: Context
    end: str
    reason: str
    time_ns: int
    metric: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    predicted: Interval | None = None
    realised: Interval | None = None
    user_impact: Mapping[str, Any] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether it was promoted and stayed."""
        return self.end == PROMOTED


def trial_outcomes(entries: Iterable[LedgerEntry]) -> tuple[TrialOutcome, ...]:
    """Return the outcome of every ended trial in the ledger, the last word on each; in order of time.

    What a boundary, an edit or a removal stopped is no outcome. A document this version cannot make
    sense of is left out.
    """
    documents: dict[tuple[str, str], Mapping[str, Any]] = {}
    trials: dict[str, int] = {}
    found: dict[tuple[str, str, int], TrialOutcome] = {}
    for entry in entries:
        if isinstance(entry.details.get("document"), Mapping):
            documents[entry.policy, entry.digest] = entry.details["document"]
        if entry.event == RETRY_EVENT:
            trials[entry.policy] = trials.get(entry.policy, 0) + 1
        key = (entry.policy, entry.digest, trials.get(entry.policy, 0))
        if entry.event == EXTEND_EVENT:
            found.pop(key, None)
        end, document = _end(entry), documents.get((entry.policy, entry.digest))
        if end is not None and document is not None:
            outcome = _outcome(entry, end, document)
            if outcome is not None:
                found[key] = outcome
    return tuple(sorted(found.values(), key=lambda outcome: outcome.time_ns))


def context_of(document: Mapping[str, Any], units_per_day: float | None = None) -> Context:
    """Return where a policy document is about: the first pattern of each list, and the load."""
    match = document["spec"]["match"]
    names = {word: _first(match.get(word)) for word in ("command", "tool", "model")}
    load = next((name for least, name in _LOADS if units_per_day >= least), "") if units_per_day is not None else ""
    return Context(**names, load=load)


def prediction_in(document: Mapping[str, Any]) -> Interval | None:
    """Return the share that a proposal's annotations predict to be saved."""
    notes = document.get("metadata", {}).get("annotations") or {}
    try:
        estimate, low, high = (float(notes[_PREDICTED + part]) for part in ("", "-low", "-high"))
    except (KeyError, TypeError, ValueError):
        return None
    return Interval(estimate, low, high) if all(map(math.isfinite, (estimate, low, high))) else None


def _first(patterns: object) -> str:
    if isinstance(patterns, str):
        return patterns
    return str(patterns[0]) if isinstance(patterns, list) and patterns else "*"


def _end(entry: LedgerEntry) -> str | None:
    if entry.from_state not in _EXPOSED_FROM:
        return None
    by = entry.details.get("by")
    if entry.to_state == State.ACTIVE:
        return PROMOTED
    if entry.to_state == State.ROLLED_BACK:
        return None if by == "boundary" else TAKEN_BACK
    if entry.to_state == State.INCONCLUSIVE:
        return WITHOUT_VERDICT
    return BENEFIT_GONE if entry.to_state == State.RETIRED and by == "hold-back" else None


def _outcome(entry: LedgerEntry, end: str, document: Mapping[str, Any]) -> TrialOutcome | None:
    try:
        spec, measured = document["spec"], entry.details.get("outcome") or {}
        metric = str(spec["goal"]["metric"])
        return TrialOutcome(
            policy=entry.policy,
            digest=entry.digest,
            optimization=str(spec["optimize"]["type"]),
            context=context_of(document, measured.get("units_per_day")),
            end=end,
            reason=entry.reason,
            time_ns=entry.time_ns,
            metric=metric,
            parameters=dict(spec["optimize"].get("with") or {}),
            predicted=prediction_in(document),
            realised=_realised(metric, measured),
            user_impact=measured.get("user_impact") or {},
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        return None


def _realised(metric: str, measured: Mapping[str, Any]) -> Interval | None:
    effect = measured.get("effects", {}).get(metric)
    if effect is None or effect.get("absolute") or not {"estimate", "low", "high"} <= effect.keys():
        return None
    estimate, low, high = (float(effect[name]) for name in ("estimate", "low", "high"))
    level = float(effect.get("level", 0.95))
    higher_is_better = metric in METRICS and METRICS[metric].higher_is_better
    return Interval(estimate, low, high, level) if higher_is_better else Interval(-estimate, -high, -low, level)
