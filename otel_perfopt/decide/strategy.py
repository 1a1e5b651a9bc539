"""A policy's `strategy`: the group of alternatives it belongs to in, a checked model out."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from otel_perfopt.decide.model_base import DeclaredModel, Name
from otel_perfopt.decide.quantity import Duration, Percent, Share


class Strategy(DeclaredModel):
    """The group of alternatives a policy belongs to, and how the one that is used is chosen among the active ones.

    Each that is not in front keeps the share `hold_out`, so that it is known how it would do; after a choice
    `dwell_s` must pass before they are compared again; another one is chosen only when it is shown better by more
    than `switch_cost`, and a comparison without result ends after `max_units`.
    """

    group: Name
    hold_out: Share = 0.1
    dwell_s: Duration = Field(default=600.0, alias="dwell")
    switch_cost: Percent = 0.0
    max_units: Annotated[int, Field(ge=200, le=1_000_000)] = 2000


def strategy_mapping(value: object) -> object:
    """Return a plain word as the mapping it stands for."""
    return {"group": value} if isinstance(value, str) else value
