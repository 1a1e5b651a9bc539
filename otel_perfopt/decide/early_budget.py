"""A budget of early calls and how commands share it: what their early calls were worth in, each one's share out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from otel_perfopt.decide.model_base import DeclaredModel
from otel_perfopt.decide.quantity import Share

# How many early calls of the average are added to a command's own: few calls say little.
PRIOR_CALLS = 10.0
LEAST_CALLS = 1e-6
MOST_COMMANDS = 100


class EarlyBudget(DeclaredModel):
    """At most `per_minute` calls of each process are made early, shared between commands by what they are worth.

    Every command keeps `floor` of it, so that what its early calls are worth stays known.
    """

    per_minute: int = Field(ge=1, le=1_000_000)
    floor: Share = 0.05


@dataclass(frozen=True, slots=True)
class EarlyWorth:
    """What early calls of one command came to: how many were started and used, and the seconds that saved."""

    started: float = 0.0
    claimed: float = 0.0
    saved_s: float = 0.0


def worth_per_call(commands: Mapping[str, EarlyWorth]) -> dict[str, float]:
    """Return the seconds that one more early call of each command saves, wasted ones counted; drawn to the average."""
    started = sum(one.started for one in commands.values())
    # Sums fade with time; of next to no call nothing is known.
    average = sum(one.saved_s for one in commands.values()) / started if started > LEAST_CALLS else 0.0
    return {name: (one.saved_s + PRIOR_CALLS * average) / (one.started + PRIOR_CALLS) for name, one in commands.items()}


def divided(budget: EarlyBudget, commands: Mapping[str, EarlyWorth]) -> dict[str, float]:
    """Return each command's share of a budget: its floor, and of the rest what its worth is of all worth.

    Floors take at most half of the budget together. The sum is 1.
    """
    ranked = sorted(commands, key=lambda name: (-commands[name].started, name))[:MOST_COMMANDS]
    if not ranked:
        return {}
    worth = worth_per_call({name: commands[name] for name in ranked})
    floor = min(budget.floor, 0.5 / len(ranked))
    rest, total = 1.0 - floor * len(ranked), sum(worth.values())
    parts = {name: worth[name] / total if total > 0 else 1.0 / len(ranked) for name in ranked}
    return {name: round(floor + rest * parts[name], 4) for name in ranked}
