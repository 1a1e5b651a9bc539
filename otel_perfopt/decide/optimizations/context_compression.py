"""`context_compression` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from otel_perfopt.decide.model_base import DeclaredModel
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType


class ContextCompressionParameters(OptimizationParameters):
    """How results are shortened: JSON as `tables`, `repeats` by name, only `changes` since the last; nothing is lost.

    `max_chars` loses what is in the middle of longer results (0: off). What saves fewer than
    `min_saving` characters is left alone.
    """

    min_saving: int = Field(default=200, ge=1, le=10_000_000)
    tables: bool = True
    repeats: bool = True
    changes: bool = True
    max_chars: int = Field(default=0, ge=0, le=100_000_000)


class ContextCompression(DeclaredModel):
    """Say the results of tools in fewer tokens."""

    type: Literal["context_compression"]
    parameters: ContextCompressionParameters = Field(default=ContextCompressionParameters(), alias="with")


KIND = OptimizationType(
    model=ContextCompression,
    read_only=False,
    shadow_free=True,
    shortens_context=True,
    risk="medium: the same facts in another form; with maxChars the middle of long results is left out",
    does="shortens tool results once, when they enter the context",
)
