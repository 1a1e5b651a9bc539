"""`adaptive_concurrency` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from otel_perfopt.decide.model_base import DeclaredModel, Glob
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType
from otel_perfopt.decide.quantity import Duration, Percent


class AdaptiveConcurrencyParameters(OptimizationParameters):
    """How many calls may be under way, and who comes first.

    The limit begins at `initial` and moves between `min_concurrency` and `max_concurrency`; an overload
    leaves `backoff` of it. `priorities` maps patterns of commands to high, normal or low. Nobody waits
    longer than `max_wait_s`.
    """

    initial: int = Field(default=8, ge=1, le=10_000)
    min_concurrency: int = Field(default=1, ge=1, le=10_000)
    max_concurrency: int = Field(default=16, ge=1, le=10_000)
    backoff: Percent = 0.7
    max_wait_s: Duration = Field(default=30.0, alias="maxWait")
    priorities: dict[Glob, Literal["high", "normal", "low"]] = Field(default_factory=dict, max_length=200)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min_concurrency <= self.initial <= self.max_concurrency:
            raise ValueError("initial must lie between minConcurrency and maxConcurrency")
        if not 0.1 <= self.backoff <= 0.99:
            raise ValueError("backoff must lie between 10% and 99%")
        return self


class AdaptiveConcurrency(DeclaredModel):
    """Have as many calls under way as the provider bears."""

    type: Literal["adaptive_concurrency"]
    parameters: AdaptiveConcurrencyParameters = Field(default=AdaptiveConcurrencyParameters(), alias="with")


KIND = OptimizationType(
    model=AdaptiveConcurrency,
    read_only=False,
    shadow_free=True,
    risk="low: the same calls, some a little later; nobody waits longer than maxWait",
    does="holds calls of a model back while it is overloaded, important commands first",
)
