"""How many calls may be made early, and how commands share them; what agents are told of a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class EarlyShare:
    """One budget: at most `per_minute` early calls a minute in a process, of which each command has its share.

    `shares` are of commands that were seen, as fractions; any other command has `floor`. `name` tells budgets apart:
    the policy's name, or `boundary <name>` for one that all policies draw on.
    """

    name: str
    per_minute: float
    floor: float
    shares: Mapping[str, float] = field(default_factory=dict)

    def of(self, command: str) -> float:
        """Return a command's share."""
        return self.shares.get(command, self.floor)

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> EarlyShare:
        """Read it from a snapshot.

        Raises:
            ValueError: it is no budget.
        """
        shares = raw.get("shares")
        per_minute, floor = _number(raw.get("per_minute")), _number(raw.get("floor"))
        if not isinstance(shares, dict) or per_minute <= 0:
            raise ValueError("a budget of early calls has a number a minute and shares")
        return cls(
            str(raw.get("name", "")), per_minute, floor, {str(key): _number(item) for key, item in shares.items()}
        )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ValueError("shares and budgets are numbers of at least 0")
    return float(value)
