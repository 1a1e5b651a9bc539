"""`tool_cache` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from otel_perfopt.decide.model_base import DeclaredModel, Text
from otel_perfopt.decide.optimizations.kind import OptimizationType
from otel_perfopt.decide.optimizations.tools import ToolParameters
from otel_perfopt.decide.quantity import Duration


class ToolCacheParameters(ToolParameters):
    """How results are kept: `ttl_s` how long, `scope` who shares them, and how many or how much.

    `version` is part of every key, so changing it forgets everything. `store` (`redis://host:port/0`) shares
    results with the other processes that name it; without it each process keeps its own.
    """

    ttl_s: Duration = Field(default=300.0, alias="ttl")
    scope: Literal["conversation", "user", "tenant", "process"] = "conversation"
    version: Text = ""
    store: Annotated[str, Field(pattern=r"^((redis|rediss|unix)://\S+)?$", max_length=500)] = ""
    max_entries: int = Field(default=1024, ge=1, le=1_000_000)
    max_bytes: int = Field(default=16 << 20, ge=1024, le=1 << 34)


class ToolCache(DeclaredModel):
    """Keep the results of read-only tools for a while."""

    type: Literal["tool_cache"]
    parameters: ToolCacheParameters = Field(default=ToolCacheParameters(), alias="with")


KIND = OptimizationType(
    model=ToolCache,
    read_only=True,
    shadow_free=True,
    risk="medium: a result may be up to one ttl old",
    does="answers a repeated read-only tool call from the result of the first",
)
