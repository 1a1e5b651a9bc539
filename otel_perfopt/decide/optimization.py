"""Which optimizations a policy may name: a type's word in, its parameters' model, safety and risk out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from otel_perfopt.decide.model_base import DeclaredModel, Globs, Text
from otel_perfopt.decide.quantity import Duration


class ToolCacheParameters(DeclaredModel):
    """How results are kept: `ttl` how long, `scope` who shares them, `invalidates` which tools' calls empty it.

    `version` is part of every key, so changing it forgets everything. The agent side gets the field
    names, with seconds.
    """

    ttl_s: Duration = Field(default=300.0, alias="ttl")
    scope: Literal["conversation", "user", "tenant", "process"] = "conversation"
    max_entries: int = Field(default=1000, ge=1, le=1_000_000)
    invalidates: Globs = ("*",)
    version: Text = ""


class ParallelToolsParameters(DeclaredModel):
    """How many of the calls that one reply asks for may run at once."""

    max_concurrency: int = Field(default=8, ge=2, le=64)


class ToolCache(DeclaredModel):
    """Keep the results of read-only tools for a while."""

    type: Literal["tool_cache"]
    parameters: ToolCacheParameters = Field(default=ToolCacheParameters(), alias="with")


class ParallelTools(DeclaredModel):
    """Start all read-only tool calls of one reply at once."""

    type: Literal["parallel_tools"]
    parameters: ParallelToolsParameters = Field(default=ParallelToolsParameters(), alias="with")


Optimize = Annotated[ToolCache | ParallelTools, Field(discriminator="type")]


@dataclass(frozen=True, slots=True)
class OptimizationType:
    """What is known of a type before anybody uses it.

    `model` is its part of a policy; `read_only` says that it may only touch tools declared `read`;
    `shadow_free` that watching it in shadow changes nothing for the agent, so that shadow needs no
    approval; `risk` and `does` are for people.
    """

    model: type[DeclaredModel]
    read_only: bool
    shadow_free: bool
    risk: str
    does: str


OPTIMIZATION_TYPES: Mapping[str, OptimizationType] = {
    "tool_cache": OptimizationType(
        model=ToolCache,
        read_only=True,
        shadow_free=True,
        risk="medium: a result may be up to one ttl old",
        does="answers a repeated read-only tool call from the result of the first",
    ),
    "parallel_tools": OptimizationType(
        model=ParallelTools,
        read_only=True,
        shadow_free=True,
        risk="low: the same calls, sooner; a tool that is not safe to call at once may suffer",
        does="starts the independent read-only tool calls of one reply at once",
    ),
}
