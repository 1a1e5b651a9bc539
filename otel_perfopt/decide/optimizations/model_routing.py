"""`model_routing` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from otel_perfopt.decide.model_base import DeclaredModel, Glob
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType


class ModelRoutingParameters(OptimizationParameters):
    """Which `model` answers instead, of the same provider.

    Requests with more than `max_context_chars` characters of messages keep theirs (0: no bound).
    """

    model: Glob
    max_context_chars: int = Field(default=0, ge=0)


class ModelRouting(DeclaredModel):
    """Let another model answer."""

    type: Literal["model_routing"]
    parameters: ModelRoutingParameters = Field(alias="with")


KIND = OptimizationType(
    model=ModelRouting,
    read_only=False,
    shadow_free=True,
    risk="high: answers may get worse; watch failures and satisfaction",
    does="sends requests to another model of the same provider",
)
