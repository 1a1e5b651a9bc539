"""What was adapted while policies ran: ledger entries in, each group's front and each policy's tuning out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.seating import NO_STANDING, STRATEGY_EVENTS, StrategyStanding, after_strategy_entry

TUNE_EVENT = "tune"
REALLOCATE_EVENT = "reallocate"


@dataclass(frozen=True, slots=True)
class TuningStanding:
    """The values (indices) a policy tries no more, and when that was last said."""

    dropped: frozenset[int] = frozenset()
    since_ns: int = 0


NOTHING_TUNED = TuningStanding()


class Adaptations:
    """Kept up to date entry by entry; nothing here changes where a policy stands.

    `strategies` are the groups' standings, `budgets` the shares of commands in each budget of early calls.
    """

    def __init__(self) -> None:
        self.strategies: dict[str, StrategyStanding] = {}
        self.budgets: dict[str, Mapping[str, float]] = {}
        self._tunings: dict[tuple[str, str], TuningStanding] = {}

    def apply(self, entry: LedgerEntry) -> None:
        """Take one more entry into account."""
        if entry.event in STRATEGY_EVENTS:
            group = str(entry.details.get("group", ""))
            self.strategies[group] = after_strategy_entry(self.strategy(group), entry)

        if entry.event == REALLOCATE_EVENT:
            shares = entry.details.get("shares", {})
            self.budgets[str(entry.details.get("budget", ""))] = {
                str(name): float(part) for name, part in shares.items()
            }
        if entry.event == TUNE_EVENT:
            dropped = frozenset(int(index) for index in entry.details.get("dropped", ()))
            self._tunings[entry.policy, entry.digest] = TuningStanding(dropped, entry.time_ns)

    def tuning(self, policy: str, digest: str) -> TuningStanding:
        """Return which values a policy's tuning has ended with, and when that was last said."""
        return self._tunings.get((policy, digest), NOTHING_TUNED)

    def strategy(self, group: str) -> StrategyStanding:
        """Return where a group of alternatives stands."""
        return self.strategies.get(group, NO_STANDING)
