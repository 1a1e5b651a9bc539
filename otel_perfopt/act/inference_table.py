"""Every optimization of calls of a model, in the order a call meets them: a clock in, the optimizations out."""

from __future__ import annotations

from dataclasses import dataclass

from otel_perfopt.act.effort_routing import EffortRouting
from otel_perfopt.act.middleware import InferenceMiddleware, Rewriter
from otel_perfopt.act.model_routing import ModelRouting
from otel_perfopt.act.prompt_cache import PromptCache
from otel_perfopt.act.prompt_tidy import PromptTidy
from otel_perfopt.act.response_cache import ResponseCache


@dataclass(frozen=True, slots=True)
class InferenceOptimizations:
    """What rewrites requests, first to last, and what stands around sending them, outermost first."""

    rewriters: tuple[Rewriter, ...]
    middlewares: tuple[InferenceMiddleware, ...]


def inference_optimizations() -> InferenceOptimizations:
    """Return new optimizations: one set a process."""
    return InferenceOptimizations(
        rewriters=(ModelRouting(), EffortRouting(), PromptTidy(), PromptCache()),
        middlewares=(ResponseCache(),),
    )
