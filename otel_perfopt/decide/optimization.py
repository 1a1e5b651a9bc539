"""Which optimizations a policy may name: a type's word in, its parameters' model, safety and risk out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from otel_perfopt.decide.optimizations import (
    adaptive_concurrency,
    batch_tools,
    context_compression,
    effort_routing,
    endpoint_balancing,
    gc_tuning,
    lazy_import,
    model_routing,
    parallel_tools,
    preload,
    prompt_cache,
    prompt_tidy,
    resource_pool,
    response_cache,
    retry_hedge,
    selective_context,
    tool_cache,
    warm_up,
)
from otel_perfopt.decide.optimizations.adaptive_concurrency import AdaptiveConcurrency
from otel_perfopt.decide.optimizations.batch_tools import BatchTools
from otel_perfopt.decide.optimizations.context_compression import ContextCompression
from otel_perfopt.decide.optimizations.effort_routing import EffortRouting
from otel_perfopt.decide.optimizations.endpoint_balancing import EndpointBalancing
from otel_perfopt.decide.optimizations.gc_tuning import GcTuning
from otel_perfopt.decide.optimizations.kind import OptimizationType
from otel_perfopt.decide.optimizations.lazy_import import LazyImport
from otel_perfopt.decide.optimizations.model_routing import ModelRouting
from otel_perfopt.decide.optimizations.parallel_tools import ParallelTools
from otel_perfopt.decide.optimizations.preload import Preload
from otel_perfopt.decide.optimizations.prompt_cache import PromptCache
from otel_perfopt.decide.optimizations.prompt_tidy import PromptTidy
from otel_perfopt.decide.optimizations.resource_pool import ResourcePool
from otel_perfopt.decide.optimizations.response_cache import ResponseCache
from otel_perfopt.decide.optimizations.retry_hedge import RetryHedge
from otel_perfopt.decide.optimizations.selective_context import SelectiveContext
from otel_perfopt.decide.optimizations.tool_cache import ToolCache
from otel_perfopt.decide.optimizations.warm_up import WarmUp

# Both name every type once: pydantic tells them apart by `type`, people by what each does.
Optimize = Annotated[
    ToolCache
    | ParallelTools
    | Preload
    | BatchTools
    | ModelRouting
    | EffortRouting
    | SelectiveContext
    | PromptTidy
    | ContextCompression
    | PromptCache
    | ResponseCache
    | AdaptiveConcurrency
    | RetryHedge
    | EndpointBalancing
    | LazyImport
    | GcTuning
    | ResourcePool
    | WarmUp,
    Field(discriminator="type"),
]

OPTIMIZATION_TYPES: Mapping[str, OptimizationType] = {
    "tool_cache": tool_cache.KIND,
    "parallel_tools": parallel_tools.KIND,
    "preload": preload.KIND,
    "batch_tools": batch_tools.KIND,
    "model_routing": model_routing.KIND,
    "effort_routing": effort_routing.KIND,
    "selective_context": selective_context.KIND,
    "prompt_tidy": prompt_tidy.KIND,
    "context_compression": context_compression.KIND,
    "prompt_cache": prompt_cache.KIND,
    "response_cache": response_cache.KIND,
    "adaptive_concurrency": adaptive_concurrency.KIND,
    "retry_hedge": retry_hedge.KIND,
    "endpoint_balancing": endpoint_balancing.KIND,
    "lazy_import": lazy_import.KIND,
    "gc_tuning": gc_tuning.KIND,
    "resource_pool": resource_pool.KIND,
    "warm_up": warm_up.KIND,
}
