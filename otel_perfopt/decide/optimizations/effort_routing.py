"""`effort_routing` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from otel_perfopt.decide.model_base import DeclaredModel
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType


class EffortRoutingParameters(OptimizationParameters):
    """How much a model is to think: the most `effort` a request may ask for, and the most thinking tokens.

    Requests with more than `max_context_chars` characters of messages are left as they are (0: no bound).
    """

    effort: Literal["none", "minimal", "low", "medium", "high"] = "low"
    thinking_tokens: int = Field(default=0, ge=0, le=1_000_000)
    max_context_chars: int = Field(default=0, ge=0)


class EffortRouting(DeclaredModel):
    """Let the model think less where that is enough."""

    type: Literal["effort_routing"]
    parameters: EffortRoutingParameters = Field(default=EffortRoutingParameters(), alias="with")


KIND = OptimizationType(
    model=EffortRouting,
    read_only=False,
    shadow_free=True,
    risk="high: answers may get worse; watch failures and satisfaction",
    does="lowers the reasoning effort that requests ask for",
)
