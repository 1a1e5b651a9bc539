"""`resource_pool` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from otel_perfopt.decide.model_base import DeclaredModel
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType
from otel_perfopt.decide.quantity import Duration


class ResourcePoolParameters(OptimizationParameters):
    """How long certificates that were read once serve new HTTP clients (`max_age_s`)."""

    max_age_s: Duration = Field(default=3600.0, alias="maxAge")


class ResourcePool(DeclaredModel):
    """Read certificates once for all HTTP clients with default settings."""

    type: Literal["resource_pool"]
    parameters: ResourcePoolParameters = Field(default=ResourcePoolParameters(), alias="with")


KIND = OptimizationType(
    model=ResourcePool,
    read_only=False,
    shadow_free=True,
    process_wide=True,
    risk="low: a changed certificate store is seen up to one maxAge later",
    does="lets HTTP clients with default settings share their read certificates",
)
