"""`retry_hedge` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from otel_perfopt.decide.model_base import DeclaredModel
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType
from otel_perfopt.decide.quantity import Duration, Percent


class RetryHedgeParameters(OptimizationParameters):
    """When a call is made a second time.

    A call slower than the quantile `hedge_quantile` of earlier ones (`hedge_after_s` until they are known) gets
    a twin; one that failed in passing is made again at most `retries` times, `backoff_s` apart and more, refusals
    for overload only with `on_overload`. Together that is at most the share `budget` of all calls.
    """

    hedge_after_s: Duration = Field(default=10.0, alias="hedgeAfter")
    hedge_quantile: Percent = 0.95
    budget: Percent = 0.05
    retries: int = Field(default=0, ge=0, le=5)
    backoff_s: Duration = Field(default=0.5, alias="backoff")
    on_overload: bool = False

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not 0.5 <= self.hedge_quantile <= 0.999:
            raise ValueError("hedgeQuantile must lie between 50% and 99.9%")
        if not 0 <= self.budget <= 0.5:
            raise ValueError("budget must be at most 50%")
        return self


class RetryHedge(DeclaredModel):
    """Try a second time where the first is slow."""

    type: Literal["retry_hedge"]
    parameters: RetryHedgeParameters = Field(default=RetryHedgeParameters(), alias="with")


KIND = OptimizationType(
    model=RetryHedge,
    read_only=False,
    shadow_free=True,
    risk="medium: up to the budget's share of calls is paid for twice",
    does="gives slow calls of a model a twin and takes the first reply",
)
