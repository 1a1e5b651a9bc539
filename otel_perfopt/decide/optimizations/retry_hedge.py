"""`retry_hedge` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from otel_perfopt.decide.lasting_errors import LASTING_NAMES
from otel_perfopt.decide.model_base import MOST_ITEMS, DeclaredModel, Globs, one_as_tuple
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType
from otel_perfopt.decide.quantity import Duration, Percent

ToolGlobs = Annotated[Globs, Field(min_length=1)]
ExceptionNames = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$", max_length=200)], ...],
    BeforeValidator(one_as_tuple, json_schema_input_type=str | list[str]),
    Field(max_length=MOST_ITEMS),
]


class RetryHedgeParameters(OptimizationParameters):
    """When a call is made a second time: a request to a model, or a call of a read-only tool.

    A request slower than the quantile `hedge_quantile` of earlier ones (`hedge_after_s` until they are known) gets
    a twin. What failed in passing is made again at most `retries` times, `backoff_s` apart and more, refusals
    for overload only with `on_overload`. Together that is at most the share `budget` of all calls.

    `tools`: whether failed calls of read-only tools are made again, or globs of those that are; without it, where
    `match` names tools. A policy that names tools and no models leaves requests alone, one that names models
    leaves tools alone. `transient` names classes of exceptions that pass, beside time-outs, lost connections and
    HTTP's 429 and 5xx. Clients of models try again by themselves, tools do not: a tool's call is made again at most
    `tool_retries` times (without it `retries`, or 2 where that is 0), also where it was refused for overload, and
    waits at most `max_wait_s` (10 s) between its tries together.
    """

    hedge_after_s: Duration = Field(default=10.0, alias="hedgeAfter")
    hedge_quantile: Percent = 0.95
    budget: Percent = 0.05
    retries: int = Field(default=0, ge=0, le=5)
    backoff_s: Duration = Field(default=0.5, alias="backoff")
    on_overload: bool = False
    tools: bool | ToolGlobs | None = None
    tool_retries: int | None = Field(default=None, ge=0, le=5)
    transient: ExceptionNames = ()
    max_wait_s: Duration | None = Field(default=None, alias="maxWait")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not 0.5 <= self.hedge_quantile <= 0.999:
            raise ValueError("hedgeQuantile must lie between 50% and 99.9%")
        if not 0 <= self.budget <= 0.5:
            raise ValueError("budget must be at most 50%")
        return self

    @model_validator(mode="after")
    def _passes(self) -> Self:
        lasting = [name for name in self.transient if name.rpartition(".")[2] in LASTING_NAMES]
        if lasting:
            raise ValueError(f"transient: {lasting[0]} does not pass by itself; name the library's or tool's own class")
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
    does="gives slow calls of a model a twin, and makes calls of models and read-only tools again that failed in passing",
)
