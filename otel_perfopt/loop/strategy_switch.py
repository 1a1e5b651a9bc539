"""Which of several approved strategies is used now: finished runs and policies in, ledger entries about each group out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from otel_perfopt.decide.allocation import TREATMENT, Allocation
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.seating import (
    EXPLORE_EVENT,
    KEEP_EVENT,
    LEAD_EVENT,
    SWITCH_EVENT,
    Alternative,
    Seating,
    StrategyStanding,
    group_salt,
    strategy_entry,
)
from otel_perfopt.decide.state import State
from otel_perfopt.execution.model import Execution
from otel_perfopt.loop.run_value import run_value
from otel_perfopt.verify.strategy_race import EXPLORE, KEEP, SWITCH, RaceSettings, StrategyRace
from otel_perfopt.verify.units import USER

# Agents follow a new snapshot within some seconds; units that begin before are of neither allocation.
SETTLE_S = 5.0
MAX_SEEN = 200_000
_EVENTS = {SWITCH: SWITCH_EVENT, KEEP: KEEP_EVENT, EXPLORE: EXPLORE_EVENT}


@dataclass(slots=True)
class _Group:
    """One group as its present stretch of time has it."""

    standing: StrategyStanding
    seats: Mapping[str, Allocation]
    race: StrategyRace | None
    salt: str
    unit: str
    metric: str
    commands: Mapping[str, tuple[str, ...]]
    seen: OrderedDict[str, int] = field(default_factory=OrderedDict)


class StrategySwitch:
    """Chooses, among the alternatives that are active, which one is in front; the shares follow from the ledger.

    A unit counts for the strategy that its id gives it, whatever was done in it: so nobody is compared only
    because the strategy found something to do. It counts once, with the mean over its runs, and in no other stretch
    than the one it began in. Each member's own comparison with baseline, and its harm tests, go on beside this.
    """

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    @property
    def races(self) -> Mapping[str, StrategyRace]:
        """The comparison under way in each group."""
        return {name: group.race for name, group in self._groups.items() if group.race is not None}

    def observe(self, execution: Execution) -> None:
        """Take one finished run into account."""
        for group in self._groups.values():
            if _is_meant(group, execution):
                _count(group, execution)

    def turn(self, policies: PolicySet, now_ns: int) -> tuple[str, ...]:
        """Write down what changes in each group now and return what is wrong with groups.

        Raises:
            LedgerError: a change could not be written, so nothing changed.
        """
        problems = []
        names = policies.groups()
        self._groups = {name: group for name, group in self._groups.items() if name in names}
        for name in names:
            members = policies.alternatives(name, now_ns)
            seats = policies.seating(name, now_ns)
            if seats.problem:
                problems.append(seats.problem)
                self._groups.pop(name, None)
                continue
            entry = self._next(name, members, policies, now_ns)
            if entry is not None:
                policies.note(entry)
                seats = policies.seating(name, now_ns)
            self._keep(name, members, seats, policies, now_ns)
        return tuple(problems)

    def _next(self, name: str, members: Sequence[Alternative], policies: PolicySet, now_ns: int) -> LedgerEntry | None:
        standing = policies.journal.adaptations.strategy(name)
        active = [one.name for one in members if one.is_active]
        if not active:
            return None
        if standing.front not in active:
            front = min(active, key=lambda one: (policies.journal.state(one).since_ns, one))
            gone = f"{standing.front} is not in use any more" if standing.front else "nobody was in front before"
            return strategy_entry(LEAD_EVENT, name, front, active[:1], reason=gone, now_ns=now_ns)
        if len(active) > 1 and set(active) - set(standing.members):
            new = ", ".join(sorted(set(active) - set(standing.members)))
            return strategy_entry(EXPLORE_EVENT, name, standing.front, active, reason=f"new: {new}", now_ns=now_ns)
        group = self._groups.get(name)
        answer = group.race.answer(now_ns) if group is not None and group.race is not None else None
        if answer is None or answer.to not in active:
            return None
        event = _EVENTS[answer.kind]
        return strategy_entry(event, name, answer.to, active, reason=answer.reason, now_ns=now_ns, **answer.numbers)

    def _keep(
        self, name: str, members: Sequence[Alternative], seats: Seating, policies: PolicySet, now_ns: int
    ) -> None:
        """Go on with a group's stretch, or begin another where its shares are not what they were."""
        standing = policies.journal.adaptations.strategy(name)
        known = self._groups.get(name)
        if known is not None and (known.standing, known.seats) == (standing, seats.seats):
            return
        if not members:
            self._groups.pop(name, None)
            return
        specs = {one.name: policies.status(one.name, now_ns).policy.spec for one in members}
        made = _Group(
            standing=standing,
            seats=seats.seats,
            race=_race(members, seats, standing, min(spec.alpha for spec in specs.values()), now_ns),
            salt=group_salt(name),
            unit=members[0].unit,
            metric=members[0].metric,
            commands={one: spec.match.command for one, spec in specs.items()},
        )
        if known is not None:
            made.seen = known.seen
        self._groups[name] = made


def _race(
    members: Sequence[Alternative], seats: Seating, standing: StrategyStanding, alpha: float, now_ns: int
) -> StrategyRace | None:
    active = [one for one in members if one.is_active]
    shares = {one.name: seats.seats[one.name].treatment for one in active if seats.seats[one.name].treatment > 0}
    if len(shares) < 2 or standing.front not in shares:
        return None
    settings = RaceSettings(
        metric=active[0].metric,
        alpha=alpha,
        switch_cost=max(one.settings.switch_cost for one in active),
        dwell_s=max(one.settings.dwell_s for one in active),
        max_units=max(one.settings.max_units for one in active),
    )
    began_ns = now_ns + int(SETTLE_S * 1e9)
    return StrategyRace(settings, standing.front, shares, began_ns, exploring=standing.exploring)


def _is_meant(group: _Group, execution: Execution) -> bool:
    return any(
        not patterns or any(fnmatchcase(execution.command.name, pattern) for pattern in patterns)
        for patterns in group.commands.values()
    )


def _count(group: _Group, execution: Execution) -> None:
    unit = execution.user_id if group.unit == USER else execution.conversation_id
    if not unit:
        return
    race = group.race
    began_ns = race.began_ns if race is not None else -1
    if unit not in group.seen:
        group.seen[unit] = began_ns if execution.command.start_ns >= began_ns else -1
        while len(group.seen) > MAX_SEEN:
            group.seen.popitem(last=False)
    if race is None or group.seen[unit] != began_ns:
        return
    member = next((one for one, seat in group.seats.items() if seat.arm(group.salt, unit) == TREATMENT), None)
    if member is None or any(other != member for other in _treated_by(group, execution)):
        return
    value = run_value(group.metric, execution)
    if value is not None:
        race.observe(unit, member, value, execution.command.start_ns)


def _treated_by(group: _Group, execution: Execution) -> Iterator[str]:
    """Yield the alternatives that say they treated the run: another than its own means it followed older shares."""
    for policy, one in execution.arms.items():
        if policy in group.seats and one.arm == TREATMENT and one.stage != str(State.SHADOW):
            yield policy
