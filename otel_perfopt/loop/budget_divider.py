"""How commands share budgets of early calls: finished runs and policies in, ledger entries that move shares out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from otel_perfopt import conventions as c
from otel_perfopt.decide.adaptation import REALLOCATE_EVENT
from otel_perfopt.decide.allocation import TREATMENT
from otel_perfopt.decide.early_budget import MOST_COMMANDS, EarlyBudget, EarlyWorth, divided, worth_per_call
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.publish import budgets_of
from otel_perfopt.decide.state import EVERY_POLICY, State
from otel_perfopt.execution.model import Execution

# What was seen half as long ago counts twice as much: needs change within hours.
HALF_LIFE_S = 600.0
# Smaller moves than this are not worth a line in the ledger, and none comes sooner than this after the last.
LEAST_MOVE = 0.05
LEAST_BETWEEN_S = 60.0
_LEAST_CALLS = 20.0


@dataclass(slots=True)
class _Sums:
    """What early calls of one command came to, halved again and again as time goes by."""

    seen_ns: int
    started: float = 0.0
    claimed: float = 0.0
    saved_s: float = 0.0

    def fade(self, now_ns: int) -> None:
        kept = 0.5 ** (max(0, now_ns - self.seen_ns) / 1e9 / HALF_LIFE_S)
        self.started, self.claimed, self.saved_s = self.started * kept, self.claimed * kept, self.saved_s * kept
        self.seen_ns = max(self.seen_ns, now_ns)

    @property
    def worth(self) -> EarlyWorth:
        return EarlyWorth(self.started, self.claimed, self.saved_s)


@dataclass(slots=True)
class _Divided:
    """One budget, who draws on it, and what is known of each command."""

    budget: EarlyBudget
    policies: frozenset[str]
    commands: dict[str, _Sums] = field(default_factory=dict)
    changed_ns: int = 0


class BudgetDivider:
    """Moves shares of every declared budget to the commands whose early calls save most, as it is measured live."""

    def __init__(self) -> None:
        self._budgets: dict[str, _Divided] = {}

    def observe(self, execution: Execution) -> None:
        """Take one finished run into account."""
        for divided_one in self._budgets.values():
            for policy in divided_one.policies:
                arm = execution.arms.get(policy)
                if arm is not None and arm.arm == TREATMENT and arm.stage != str(State.SHADOW):
                    _count(divided_one, policy, execution)

    def worth(self, name: str) -> Mapping[str, float]:
        """Return the seconds that one early call of each command saves, for one budget."""
        known = self._budgets.get(name)
        return worth_per_call({command: sums.worth for command, sums in known.commands.items()}) if known else {}

    def shares(self, policies: PolicySet) -> dict[str, Mapping[str, float]]:
        """Return each budget's shares, as they are in force."""
        return {name: policies.journal.adaptations.budgets.get(name, {}) for name in self._budgets}

    def turn(self, policies: PolicySet, statuses: Sequence[PolicyStatus], now_ns: int) -> None:
        """Write down the shares that move.

        Raises:
            LedgerError: they could not be written, so they stay.
        """
        self._adopt(statuses, policies)
        for name, known in self._budgets.items():
            for sums in known.commands.values():
                sums.fade(now_ns)
            worth = {command: sums.worth for command, sums in known.commands.items()}
            before = policies.journal.adaptations.budgets.get(name, {})
            after = divided(known.budget, worth)
            is_known = sum(one.started for one in worth.values()) >= _LEAST_CALLS
            due = now_ns - known.changed_ns >= LEAST_BETWEEN_S * 1e9
            if is_known and due and _moved(before, after):
                policies.note(_entry(name, known, before, after, worth, now_ns=now_ns))
                known.changed_ns = now_ns

    def _adopt(self, statuses: Sequence[PolicyStatus], policies: PolicySet) -> None:
        """Follow what is declared: budgets that came, went, or are drawn on by others."""
        drawn: dict[str, tuple[EarlyBudget, set[str]]] = {}
        for status in statuses:
            if status.is_in_force:
                for name, budget in budgets_of(status.policy, policies.boundaries).items():
                    drawn.setdefault(name, (budget, set()))[1].add(status.name)
        kept = self._budgets
        self._budgets = {}
        for name, (budget, names) in drawn.items():
            known = kept.get(name) or _Divided(budget, frozenset())
            known.budget, known.policies = budget, frozenset(names)
            self._budgets[name] = known


def _count(known: _Divided, policy: str, execution: Execution) -> None:
    told = execution.command.attributes

    def number(word: str) -> float:
        value = told.get(c.policy_attribute(policy, word))
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0

    command, end_ns = execution.command.name, execution.command.end_ns
    sums = known.commands.get(command)
    if sums is None:
        if len(known.commands) >= MOST_COMMANDS:
            known.commands.pop(min(known.commands, key=lambda name: known.commands[name].started))
        sums = known.commands[command] = _Sums(end_ns)
    sums.fade(end_ns)
    sums.started += number(c.POLICY_STARTED)
    sums.claimed += number(c.POLICY_CLAIMED)
    sums.saved_s += number(c.POLICY_SAVED_NS) / 1e9


def _moved(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    return any(abs(before.get(name, 0.0) - share) >= LEAST_MOVE for name, share in after.items())


def _entry(
    name: str,
    known: _Divided,
    before: Mapping[str, float],
    after: Mapping[str, float],
    worth: Mapping[str, EarlyWorth],
    *,
    now_ns: int,
) -> LedgerEntry:
    """Return the entry that moves a budget's shares: with what each command's early calls came to."""
    per_call = worth_per_call(worth)
    gains = max(after, key=lambda command: after[command] - before.get(command, 0.0))
    told = {
        "budget": name,
        "per_minute": known.budget.per_minute,
        "shares": dict(after),
        "commands": {
            command: {
                "started": round(one.started, 1),
                "used": round(one.claimed, 1),
                "saved_s_per_call": round(per_call[command], 4),
            }
            for command, one in worth.items()
            if command in after
        },
    }
    reason = (
        f"{gains} has {after[gains]:.0%} of {name}'s early calls now, and had {before.get(gains, 0.0):.0%}: "
        f"each saves {per_call[gains] * 1000:.0f} ms"
    )
    policy = name if name in known.policies else EVERY_POLICY
    return LedgerEntry(now_ns, "perfopt", REALLOCATE_EVENT, policy, reason=reason, details=told)
