"""`batch_tools` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from otel_perfopt.decide.model_base import DeclaredModel, Glob
from otel_perfopt.decide.optimizations.kind import OptimizationType
from otel_perfopt.decide.optimizations.tools import ToolParameters
from otel_perfopt.decide.quantity import Duration

_FUNCTION = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"


class BatchToolsParameters(ToolParameters):
    """How long the first call waits for others (`window_s`), how many go together, and whose (`scope`).

    `batch` maps a tool to the function that makes many of its calls (`module:function`): it takes a list
    of the calls' arguments by name and gives a list of results in the same order, an exception for a call
    that fails. A tool can say so itself: `tool(batch=function)`.
    """

    window_s: Duration = Field(default=0.005, alias="window", le=1.0)
    max_size: int = Field(default=20, ge=2, le=1000)
    scope: Literal["conversation", "user", "tenant", "process"] = "conversation"
    batch: Mapping[Glob, Annotated[str, Field(pattern=_FUNCTION)]] = Field(default_factory=dict)


class BatchTools(DeclaredModel):
    """Put calls of one tool that come at once together."""

    type: Literal["batch_tools"]
    parameters: BatchToolsParameters = Field(default=BatchToolsParameters(), alias="with")


KIND = OptimizationType(
    model=BatchTools,
    read_only=True,
    shadow_free=True,
    risk="low: a call may wait one window for others; a batch that fails is made call by call",
    does="makes the calls of one read-only tool that come at once as one, where the tool has a form for many",
)
