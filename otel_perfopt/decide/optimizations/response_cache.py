"""`response_cache` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from otel_perfopt.decide.model_base import DeclaredModel, Text
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType
from otel_perfopt.decide.quantity import Duration


class ResponseCacheParameters(OptimizationParameters):
    """How replies are kept: `ttl_s` how long, `scope` who shares them, and how many or how much.

    Without `any_temperature` only requests at temperature 0 count; without `tool_calls` only replies that
    ask for no tool. `version` is part of every key.
    """

    ttl_s: Duration = Field(default=300.0, alias="ttl")
    scope: Literal["conversation", "user", "tenant", "process"] = "conversation"
    version: Text = ""
    max_entries: int = Field(default=256, ge=1, le=1_000_000)
    max_bytes: int = Field(default=16 << 20, ge=1024, le=1 << 34)
    max_wait_s: Duration = Field(default=30.0, alias="maxWait")
    any_temperature: bool = False
    tool_calls: bool = False


class ResponseCache(DeclaredModel):
    """Keep the replies of models for a while."""

    type: Literal["response_cache"]
    parameters: ResponseCacheParameters = Field(default=ResponseCacheParameters(), alias="with")


KIND = OptimizationType(
    model=ResponseCache,
    read_only=False,
    shadow_free=True,
    risk="medium: the same question gets the same answer, up to one ttl old",
    does="answers a repeated request to a model from its first reply",
)
