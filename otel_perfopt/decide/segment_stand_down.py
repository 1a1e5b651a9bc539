"""Whom a policy in force leaves alone after all: ledger entries in, decisions that leave those people out.

A policy that makes people of one preference less satisfied stands down for them, not for the others. That
only ever narrows what was approved; another digest, or another trial of this one, starts anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from otel_perfopt.decide.decision import Decision
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.state import EXPOSED, RESUME_EVENT
from otel_perfopt.signal.preference import PREFERENCES

STAND_DOWN_EVENT = "stand down"
_SYSTEM = "perfopt"
_EXPOSED = frozenset(str(state) for state in EXPOSED)


def stand_down_entry(decision: Decision, preference: str, reason: str, now_ns: int) -> LedgerEntry:
    """Return the entry that takes people of one preference out of what a policy does."""
    details = {"preference": preference}
    return LedgerEntry(
        now_ns, _SYSTEM, STAND_DOWN_EVENT, decision.policy, digest=decision.digest, reason=reason, details=details
    )


def stood_down(entries: Iterable[LedgerEntry]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return by policy and digest the preferences that its present trial has stood down for."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for entry in entries:
        key = (entry.policy, entry.digest)
        if entry.event == STAND_DOWN_EVENT:
            preference = entry.details.get("preference")
            if preference in PREFERENCES and preference not in found.get(key, ()):
                found[key] = (*found.get(key, ()), str(preference))
        elif entry.to_state in _EXPOSED and entry.from_state not in _EXPOSED and entry.event != RESUME_EVENT:
            found.pop(key, None)
    return found


def without_stood_down(decisions: Sequence[Decision], entries: Iterable[LedgerEntry]) -> tuple[Decision, ...]:
    """Return the decisions, each excluding the preferences that it has stood down for."""
    down = stood_down(entries)
    return tuple(_narrowed(decision, down.get((decision.policy, decision.digest), ())) for decision in decisions)


def is_personal(decision: Decision) -> bool:
    """Tell whether a decision depends on for whom a call is made."""
    match, exclude = decision.match, decision.exclude
    return bool(match.preference or match.user or exclude.preference or exclude.user)


def _narrowed(decision: Decision, preferences: tuple[str, ...]) -> Decision:
    more = tuple(word for word in preferences if word not in decision.exclude.preference)
    if not more:
        return decision
    return replace(decision, exclude=replace(decision.exclude, preference=(*decision.exclude.preference, *more)))
