"""What the ledger says now: its entries in, each policy's state and the switches out, and one way to add to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.decide.adaptation import Adaptations
from otel_perfopt.decide.digest import digest_of
from otel_perfopt.decide.ledger import Ledger, LedgerMovedError
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.state import EVERY_POLICY, KILL_EVENT, UNKILL_EVENT, PolicyState, after_entry

BOUNDARY_EVENT = "boundary"
PROPOSAL_EVENT = "write proposal"
_MOST_TRIES = 50
_T = TypeVar("_T")


class Journal:
    """The ledger with what follows from it, kept up to date entry by entry.

    `states` holds every policy the ledger knows; `killed` whether everything was switched off;
    `boundary_digest` which boundaries were in force last; `proposed` the names and digests of
    proposals that were written, `predicted` what the last one for a finding (by its first name)
    predicted, None where it could not say; `adaptations` what was adapted while policies ran.
    """

    def __init__(self, path: Path) -> None:
        self.ledger = Ledger(path)
        self.states: dict[str, PolicyState] = {}
        self.killed = False
        self.boundary_digest = digest_of([])
        self.proposed: dict[str, set[str]] = {}
        self.predicted: dict[str, Interval | None] = {}
        self.adaptations = Adaptations()
        self._applied = 0

    def state(self, policy: str) -> PolicyState:
        """Return where a policy stands; `new` when the ledger has not heard of it."""
        return self.states.get(policy, PolicyState(policy))

    def catch_up(self) -> tuple[LedgerEntry, ...]:
        """Take in what this and other processes have written and return what is new here.

        Raises:
            LedgerError: the ledger cannot be read or does not verify.
        """
        self.ledger.refresh()
        return self._apply()

    def decided(self, decide: Callable[[], tuple[_T, LedgerEntry | None]]) -> _T:
        """Write what `decide` returns, deciding again whenever another process wrote in between.

        Raises:
            LedgerError: the entry could not be written; nothing changed.
        """
        for _ in range(_MOST_TRIES):
            self.catch_up()
            result, entry = decide()
            if entry is None:
                return result
            try:
                self.ledger.append(entry, expected_head=self.ledger.head.hash)
            except LedgerMovedError:
                continue
            self._apply()
            return result
        raise LedgerMovedError(f"{self.ledger.path} is written by others faster than it can be decided on")

    def write(self, entry: LedgerEntry) -> None:
        """Write an entry that depends on nothing."""
        self.ledger.append(entry)
        self._apply()

    def _apply(self) -> tuple[LedgerEntry, ...]:
        new = self.ledger.entries[self._applied :]
        for entry in new:
            if entry.policy == EVERY_POLICY:
                self._apply_to_all(entry)
            else:
                self.states[entry.policy] = after_entry(self.state(entry.policy), entry)
            self.adaptations.apply(entry)
            if entry.event == PROPOSAL_EVENT:
                self.proposed.setdefault(entry.policy, set()).add(entry.digest)
                base = str(entry.details.get("proposal_of", entry.policy))
                self.predicted[base] = _interval(entry.details.get("predicted"))
            self._applied += 1
        return new

    def _apply_to_all(self, entry: LedgerEntry) -> None:
        if entry.event in {KILL_EVENT, UNKILL_EVENT}:
            self.killed = entry.event == KILL_EVENT
        if entry.event == BOUNDARY_EVENT:
            self.boundary_digest = entry.digest


def _interval(told: object) -> Interval | None:
    numbers = told if isinstance(told, list) else []
    if len(numbers) != 3 or not all(isinstance(number, int | float) for number in numbers):
        return None
    return Interval(*numbers)
