"""What every type of optimization has: its words in, what is known of it before anybody uses it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from otel_perfopt.decide.model_base import DeclaredModel


class OptimizationParameters(DeclaredModel):
    """What a policy may set on an optimization, under `with`."""

    def published(self) -> dict[str, Any]:
        """Return the parameters as the agent side reads them: field names, seconds, nothing that is empty."""
        values = self.model_dump(mode="python", by_alias=False)
        return {name: value for name, value in values.items() if value not in (None, "")}


@dataclass(frozen=True, slots=True)
class OptimizationType:
    """What is known of a type before anybody uses it.

    `model` is its part of a policy; `read_only` says that it may only touch tools declared `read`;
    `shadow_free` that watching it in shadow changes nothing for the agent, so that shadow needs no
    approval; `risk` and `does` are for people. `needs` are parameters without which there is nothing to propose.
    `shortens_context` marks types that leave out what a reply may need, so that shadow must show what replies used is kept.
    `process_wide` marks types that change what all calls of a process share, so that the process is the unit.
    """

    model: type[DeclaredModel]
    read_only: bool
    shadow_free: bool
    risk: str
    does: str
    needs: tuple[str, ...] = ()
    process_wide: bool = False
    shortens_context: bool = False
