"""`endpoint_balancing` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from otel_perfopt.decide.model_base import LONGEST_TEXT, DeclaredModel, one_as_tuple
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType
from otel_perfopt.decide.quantity import Duration

Address = Annotated[str, Field(pattern=r"^https?://\S+$", max_length=LONGEST_TEXT)]
Addresses = Annotated[
    tuple[Address, ...],
    BeforeValidator(one_as_tuple, json_schema_input_type=Address | list[Address]),
    Field(min_length=1, max_length=32),
]


class EndpointBalancingParameters(OptimizationParameters):
    """Where calls may go beside the agent's own endpoint: `endpoints` of the same API, for the same credentials.

    With `sticky` a conversation stays where it began. After `eject_after` failures in a row an endpoint
    rests for `eject_for_s`.
    """

    endpoints: Addresses
    sticky: bool = True
    eject_after: int = Field(default=3, ge=1, le=100)
    eject_for_s: Duration = Field(default=30.0, alias="ejectFor")


class EndpointBalancing(DeclaredModel):
    """Spread calls over several endpoints."""

    type: Literal["endpoint_balancing"]
    parameters: EndpointBalancingParameters = Field(alias="with")


KIND = OptimizationType(
    model=EndpointBalancing,
    read_only=False,
    shadow_free=True,
    risk="medium: prompts and credentials go to the other endpoints too; the boundary must name them",
    does="sends conversations to the endpoint that is fastest, and away from failing ones",
)
