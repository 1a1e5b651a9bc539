"""`parallel_tools` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from otel_perfopt.decide.model_base import DeclaredModel
from otel_perfopt.decide.optimizations.kind import OptimizationType
from otel_perfopt.decide.optimizations.tools import ToolParameters


class ParallelToolsParameters(ToolParameters):
    """How many of the calls that one reply asks for may run at once."""

    max_concurrency: int = Field(default=8, ge=2, le=64)


class ParallelTools(DeclaredModel):
    """Start all read-only tool calls of one reply at once."""

    type: Literal["parallel_tools"]
    parameters: ParallelToolsParameters = Field(default=ParallelToolsParameters(), alias="with")


KIND = OptimizationType(
    model=ParallelTools,
    read_only=True,
    shadow_free=True,
    risk="low: the same calls, sooner; a tool that is not safe to call at once may suffer",
    does="starts the independent read-only tool calls of one reply at once",
)
