"""What was adapted while policies ran: ledger entries in, each group's front and each policy's tuning out."""

from __future__ import annotations

from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.seating import NO_STANDING, STRATEGY_EVENTS, StrategyStanding, after_strategy_entry


class Adaptations:
    """Kept up to date entry by entry; nothing here changes where a policy stands."""

    def __init__(self) -> None:
        self.strategies: dict[str, StrategyStanding] = {}

    def apply(self, entry: LedgerEntry) -> None:
        """Take one more entry into account."""
        if entry.event in STRATEGY_EVENTS:
            group = str(entry.details.get("group", ""))
            self.strategies[group] = after_strategy_entry(self.strategy(group), entry)

    def strategy(self, group: str) -> StrategyStanding:
        """Return where a group of alternatives stands."""
        return self.strategies.get(group, NO_STANDING)
