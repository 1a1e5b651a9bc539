"""`warm_up` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from otel_perfopt.decide.model_base import DeclaredModel, as_tuple, one_as_tuple
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType
from otel_perfopt.decide.quantity import Duration, DurationOrZero

Loader = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$", max_length=200)]
Loaders = Annotated[
    tuple[Loader, ...],
    BeforeValidator(one_as_tuple, json_schema_input_type=str | list[str]),
    Field(max_length=50),
]


class WarmCall(DeclaredModel):
    """One call of a read-only tool, as the agent will probably make it."""

    tool: str = Field(min_length=1, max_length=200)
    arguments: dict[str, Any] = Field(default_factory=dict, max_length=50)


class WarmUpParameters(OptimizationParameters):
    """What is made ready: functions of the host's (`loaders`, each `module:function`) and `calls` of read-only tools.

    What calls give is kept by a `tool_cache` whose scope is the process; with `discard` they are made where there is
    none too, for the connections and models that they leave ready. Nothing is begun after `max`, and `every` so
    often what the cache has let go of is fetched again.
    """

    loaders: Loaders = ()
    calls: Annotated[tuple[WarmCall, ...], BeforeValidator(as_tuple), Field(max_length=200)] = ()
    max_s: Duration = Field(default=30.0, alias="max")
    discard: bool = False
    every_s: DurationOrZero = Field(default=0.0, alias="every")

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.loaders or self.calls):
            raise ValueError("names nothing; give loaders, or calls")
        return self


class WarmUp(DeclaredModel):
    """Make pools, indexes and caches ready before they are needed."""

    type: Literal["warm_up"]
    parameters: WarmUpParameters = Field(alias="with")


KIND = OptimizationType(
    model=WarmUp,
    read_only=True,
    shadow_free=True,
    process_wide=True,
    risk="low: work for a peak that does not come is wasted",
    does="runs declared loaders and frequent reads before a peak",
)
