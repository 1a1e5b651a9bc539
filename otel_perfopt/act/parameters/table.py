"""Every optimization the agent side knows: its name in, where it stands and how its parameters are read out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from otel_perfopt.act.parameters.adaptive_concurrency import AdaptiveConcurrencyParameters
from otel_perfopt.act.parameters.batch_tools import BatchToolsParameters
from otel_perfopt.act.parameters.context_compression import ContextCompressionParameters
from otel_perfopt.act.parameters.effort_routing import EffortRoutingParameters
from otel_perfopt.act.parameters.endpoint_balancing import EndpointBalancingParameters
from otel_perfopt.act.parameters.gc_tuning import GcTuningParameters
from otel_perfopt.act.parameters.lazy_import import LazyImportParameters
from otel_perfopt.act.parameters.model_routing import ModelRoutingParameters
from otel_perfopt.act.parameters.parallel_tools import ParallelToolsParameters
from otel_perfopt.act.parameters.preload import PreloadParameters
from otel_perfopt.act.parameters.prompt_cache import PromptCacheParameters
from otel_perfopt.act.parameters.prompt_tidy import PromptTidyParameters
from otel_perfopt.act.parameters.resource_pool import ResourcePoolParameters
from otel_perfopt.act.parameters.response_cache import ResponseCacheParameters
from otel_perfopt.act.parameters.retry_hedge import RetryHedgeParameters
from otel_perfopt.act.parameters.selective_context import SelectiveContextParameters
from otel_perfopt.act.parameters.tool_cache import ToolCacheParameters
from otel_perfopt.act.parameters.warm_up import WarmUpParameters
from otel_perfopt.decide.decision import Match


class Seam(Enum):
    """Where an optimization stands: around tool calls, around calls of a model, or beside a whole process."""

    TOOL = "tool"
    INFERENCE = "inference"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class OptimizationEntry:
    """Where an optimization stands, and how a decision's parameters become its own.

    One that may stand at a second seam stands right before `also_before` there, and `stands_at` tells by a decision's
    parameters and match at which of the two it does.
    """

    seam: Seam
    read: Callable[[Mapping[str, object]], object]
    stands_at: Callable[[Any, Match, Seam], bool] | None = None
    also_before: str = ""


def _retries_at(parameters: RetryHedgeParameters, match: Match, seam: Seam) -> bool:
    if seam is Seam.TOOL:
        return parameters.is_about_tools(match)
    return seam is Seam.INFERENCE and parameters.is_about_models(match)


# One line an optimization. Within a seam, in the order a call meets them; the order is part of what is promised:
# what the cache can answer is not made early, what was made early fills the cache, and each saving is counted by the one
# that gave it. Reads that failed are made again (`retry_hedge` with tools) inside all of those and around a batch. A request is rewritten before anybody answers it; where a cache of the provider begins is decided last.
OPTIMIZATIONS: Final[Mapping[str, OptimizationEntry]] = {
    "tool_cache": OptimizationEntry(Seam.TOOL, ToolCacheParameters.read),
    "preload": OptimizationEntry(Seam.TOOL, PreloadParameters.read),
    "parallel_tools": OptimizationEntry(Seam.TOOL, ParallelToolsParameters.read),
    "batch_tools": OptimizationEntry(Seam.TOOL, BatchToolsParameters.read),
    "model_routing": OptimizationEntry(Seam.INFERENCE, ModelRoutingParameters.read),
    "effort_routing": OptimizationEntry(Seam.INFERENCE, EffortRoutingParameters.read),
    "selective_context": OptimizationEntry(Seam.INFERENCE, SelectiveContextParameters.read),
    "prompt_tidy": OptimizationEntry(Seam.INFERENCE, PromptTidyParameters.read),
    "context_compression": OptimizationEntry(Seam.INFERENCE, ContextCompressionParameters.read),
    "prompt_cache": OptimizationEntry(Seam.INFERENCE, PromptCacheParameters.read),
    "response_cache": OptimizationEntry(Seam.INFERENCE, ResponseCacheParameters.read),
    "adaptive_concurrency": OptimizationEntry(Seam.INFERENCE, AdaptiveConcurrencyParameters.read),
    "retry_hedge": OptimizationEntry(Seam.INFERENCE, RetryHedgeParameters.read, _retries_at, "batch_tools"),
    "endpoint_balancing": OptimizationEntry(Seam.INFERENCE, EndpointBalancingParameters.read),
    "lazy_import": OptimizationEntry(Seam.PROCESS, LazyImportParameters.read),
    "gc_tuning": OptimizationEntry(Seam.PROCESS, GcTuningParameters.read),
    "resource_pool": OptimizationEntry(Seam.PROCESS, ResourcePoolParameters.read),
    "warm_up": OptimizationEntry(Seam.PROCESS, WarmUpParameters.read),
}


def names_at(seam: Seam) -> tuple[str, ...]:
    """Return the optimizations that stand there, in the order a call meets them."""
    names: list[str] = []
    for name, entry in OPTIMIZATIONS.items():
        if entry.seam is seam:
            names += [other for other, guest in OPTIMIZATIONS.items() if guest.also_before == name]
            names.append(name)
    return tuple(names)
