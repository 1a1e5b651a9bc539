"""Alternatives of which at most one treats a unit: exposed members and the ledger in, each one's share out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.digest import digest_of, salt_of
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.strategy import Strategy

LEAD_EVENT = "lead"
EXPLORE_EVENT = "explore strategies"
SWITCH_EVENT = "switch strategy"
KEEP_EVENT = "keep strategy"
STRATEGY_EVENTS = frozenset({LEAD_EVENT, EXPLORE_EVENT, SWITCH_EVENT, KEEP_EVENT})


def group_salt(group: str) -> str:
    """Return the salt that all alternatives share, so that a unit has one place among them."""
    return salt_of(digest_of({"strategy": group}))


@dataclass(frozen=True, slots=True)
class StrategyStanding:
    """Where a group stands, as the ledger tells it: who is in front, whether it explores among whom, since when."""

    front: str = ""
    exploring: bool = False
    since_ns: int = 0
    members: tuple[str, ...] = ()
    explorations: int = 0


NO_STANDING = StrategyStanding()


def after_strategy_entry(standing: StrategyStanding, entry: LedgerEntry) -> StrategyStanding:
    """Return a group's standing after one more entry about it; entries are about who is in front from then on."""
    exploring = entry.event == EXPLORE_EVENT
    return StrategyStanding(
        front=entry.policy,
        exploring=exploring,
        since_ns=entry.time_ns,
        members=tuple(str(name) for name in entry.details.get("members", ())),
        explorations=standing.explorations + exploring,
    )


def strategy_entry(
    event: str, group: str, front: str, members: Sequence[str], *, reason: str, now_ns: int, **numbers: Any
) -> LedgerEntry:
    """Return the entry that puts `front` in front of a group, or lets it explore."""
    details = {"group": group, "members": list(members), **numbers}
    return LedgerEntry(now_ns, "perfopt", event, front, reason=reason, details=details)


@dataclass(frozen=True, slots=True)
class Alternative:
    """One exposed member of a group: what it may have by its own stage, whether it is promoted, and what it compares."""

    name: str
    allocation: Allocation
    is_active: bool
    settings: Strategy
    metric: str
    unit: str


@dataclass(frozen=True, slots=True)
class Seating:
    """Who gets which units: an allocation for each member, and why some get none."""

    seats: Mapping[str, Allocation] = field(default_factory=dict)
    problem: str = ""


def seating(members: Sequence[Alternative], standing: StrategyStanding) -> Seating:
    """Return disjoint shares for the exposed members of a group; nobody gets more than its own stage allows.

    Those in canary have their declared shares, made smaller together where they do not fit beside each other.
    The active ones share what is left: equally while the group explores, else all but the hold-outs for
    the one in front. Baseline is common to all. Members that do not compare the same metric over the same
    unit are no alternatives: only the first by name is used.
    """
    ordered = sorted(members, key=lambda one: one.name)
    if not ordered:
        return Seating()
    first = ordered[0]
    strangers = [one.name for one in ordered if (one.metric, one.unit) != (first.metric, first.unit)]
    if strangers:
        seats = {one.name: Allocation() for one in ordered[1:]} | {first.name: first.allocation}
        message = f"strategy {first.settings.group}: {', '.join(strangers)} and {first.name} have another goal or unit"
        return Seating(seats, f"{message}; only {first.name} is used")
    return Seating(_seats(ordered, standing))


def active_shares(members: Sequence[Alternative], standing: StrategyStanding, room: float) -> dict[str, float]:
    """Return how the active members divide `room` (a share of all units) among them."""
    active = [one for one in members if one.is_active]
    if not active:
        return {}
    front = standing.front if any(one.name == standing.front for one in active) else active[0].name
    equal = room / len(active)
    held = equal if standing.exploring else min(equal, *(one.settings.hold_out for one in active))
    wanted = {one.name: room - held * (len(active) - 1) if one.name == front else held for one in active}
    return {one.name: min(wanted[one.name], one.allocation.treatment) for one in active}


def _seats(members: Sequence[Alternative], standing: StrategyStanding) -> dict[str, Allocation]:
    active, trying = [one for one in members if one.is_active], [one for one in members if not one.is_active]
    kept = max((one.allocation.baseline for one in active), default=0.0)
    # What the active ones keep while others are tried: their hold-outs, and never more than half.
    reserve = min(sum(min(one.settings.hold_out, one.allocation.treatment) for one in active), (1.0 - kept) / 2)
    scale = _scale(trying, kept, reserve)
    shares = {one.name: one.allocation.treatment * scale for one in trying}
    baselines = {one.name: one.allocation.baseline * (1.0 if one.is_active else scale) for one in members}
    room = max(0.0, 1.0 - sum(shares.values()) - max(baselines.values()))
    shares |= active_shares(active, standing, room)
    seats, start = {}, 0.0
    for one in members:
        treatment = max(0.0, min(shares[one.name], 1.0 - baselines[one.name] - start))
        seats[one.name] = Allocation(treatment, baselines[one.name], start)
        start += treatment
    return seats


def _scale(trying: Sequence[Alternative], kept: float, reserve: float) -> float:
    """Return by how much those in canary shrink to fit beside each other, the reserve and everybody's baseline."""
    treated = sum(one.allocation.treatment for one in trying)
    baseline = max((one.allocation.baseline for one in trying), default=0.0)
    if not treated:
        return 1.0
    return min(1.0, (1.0 - reserve - kept) / treated, (1.0 - reserve) / (treated + baseline))
