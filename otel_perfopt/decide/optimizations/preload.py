"""`preload` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import Self

from otel_perfopt.decide.model_base import DeclaredModel, Glob, as_tuple
from otel_perfopt.decide.optimizations.kind import OptimizationType
from otel_perfopt.decide.optimizations.tools import ToolParameters
from otel_perfopt.decide.quantity import Duration, Percent

_ARGUMENT = r"^[A-Za-z_][A-Za-z0-9_]*$"
_MINED = ConfigDict(populate_by_name=True)  # the miner writes names as they are here


class ArgumentSource(DeclaredModel):
    """Where an argument comes from: the latest call of the tool `of`, its result or its arguments, the place in them."""

    of: Glob
    part: Literal["result", "arguments"] = Field(default="result", alias="from")
    path: Glob


class PreloadRule(DeclaredModel):
    """After a call of `after`, or after the command `after_command` for the next one, `command`: call `call`."""

    model_config = _MINED

    call: Glob
    after: str = ""
    after_command: str = ""
    command: str = ""
    arguments: Mapping[Annotated[str, Field(pattern=_ARGUMENT)], ArgumentSource] = Field(default_factory=dict)
    precision: float = Field(default=1.0, ge=0, le=1)
    precision_low: float | None = Field(default=None, ge=0, le=1)
    support: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _follows_one(self) -> Self:
        if bool(self.after) == bool(self.after_command):
            raise ValueError("a rule needs either `after` (a tool) or `afterCommand`")
        if bool(self.command) != bool(self.after_command):
            raise ValueError("`afterCommand` and `command` belong together")
        return self

    def published(self) -> dict[str, Any]:
        """Return the rule as the agent side reads it."""
        plain = self.model_dump(mode="python", by_alias=False, exclude={"arguments"})
        sources = {
            name: {"of": source.of, "from": source.part, "path": source.path} for name, source in self.arguments.items()
        }
        return {name: value for name, value in plain.items() if value not in (None, "")} | {"arguments": sources}


class PreloadParameters(ToolParameters):
    """Which reads are made before anybody asks for them, and how much of that may be in vain.

    Rules come from `perfopt propose`. One is used while it is right at least `min_precision` of the
    time; `budget` is the share of wasted calls, `max_in_flight` how many of one conversation run at once,
    and `ttl_s` how old a result may be when it is asked for.
    """

    rules: Annotated[tuple[PreloadRule, ...], BeforeValidator(as_tuple)] = Field(min_length=1, max_length=200)
    next_commands: Mapping[str, Any] = Field(default_factory=dict)
    min_precision: Percent = 0.6
    max_in_flight: int = Field(default=4, ge=1, le=64)
    ttl_s: Duration = Field(default=30.0, alias="ttl")
    budget: Percent = 0.2

    def published(self) -> dict[str, Any]:
        """Return the parameters as the agent side reads them."""
        return super().published() | {"rules": [rule.published() for rule in self.rules]}


class Preload(DeclaredModel):
    """Make foreseen reads before they are asked for."""

    type: Literal["preload"]
    parameters: PreloadParameters = Field(alias="with")


KIND = OptimizationType(
    model=Preload,
    read_only=True,
    shadow_free=True,
    risk="medium: a result may be up to one ttl old, and calls that nobody comes for are load",
    does="makes the read-only calls that usually come next, with their arguments, before they are asked for",
    needs=("rules",),
)
