"""`prompt_cache` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from otel_perfopt.decide.model_base import DeclaredModel
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType


class PromptCacheParameters(OptimizationParameters):
    """How a provider is helped to recognise what it has read before.

    Requests of fewer than `min_tokens` are left alone; `lifetime` is how long a prefix is kept, `key` which
    requests share a routing key, and `stable_tools` sends a set of tools always in the same order.
    """

    min_tokens: int = Field(default=1024, ge=1, le=10_000_000)
    lifetime: Literal["5m", "1h"] = "5m"
    key: Literal["prefix", "conversation"] = "prefix"
    stable_tools: bool = True


class PromptCache(DeclaredModel):
    """Let the provider find again what it has read before."""

    type: Literal["prompt_cache"]
    parameters: PromptCacheParameters = Field(default=PromptCacheParameters(), alias="with")


KIND = OptimizationType(
    model=PromptCache,
    read_only=False,
    shadow_free=True,
    risk="low: the same prompt; a prefix that is never sent again costs a quarter more to keep",
    does="marks where a prompt's stable part ends, so that the provider does not read it anew",
)
