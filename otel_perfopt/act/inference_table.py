"""Every optimization of calls of a model, in the order a call meets them: a clock in, the optimizations out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_perfopt.act import context_compression, selective_context
from otel_perfopt.act.adaptive_concurrency import AdaptiveConcurrency
from otel_perfopt.act.clock import SYSTEM_CLOCK, Clock
from otel_perfopt.act.context_compression import ContextCompression
from otel_perfopt.act.early_budget import EarlyBudgets
from otel_perfopt.act.effort_routing import EffortRouting
from otel_perfopt.act.endpoint_balancing import EndpointBalancing
from otel_perfopt.act.middleware import InferenceMiddleware, Rewriter
from otel_perfopt.act.model_routing import ModelRouting
from otel_perfopt.act.prompt_cache import PromptCache
from otel_perfopt.act.prompt_tidy import PromptTidy
from otel_perfopt.act.response_cache import ResponseCache
from otel_perfopt.act.retry_hedge import RetryHedge
from otel_perfopt.act.selective_context import SelectiveContext
from otel_perfopt.act.sent_plain import SentPlain

# Those that change what a conversation's history says: once it went out without them, it goes on without them.
CONTEXT_REWRITERS: Final = (selective_context.NAME, context_compression.NAME)


@dataclass(frozen=True, slots=True)
class InferenceOptimizations:
    """What rewrites requests, first to last, and what stands around sending them, outermost first.

    `sent_plain` is told of every conversation that goes out without its context rewritten.
    """

    rewriters: tuple[Rewriter, ...]
    middlewares: tuple[InferenceMiddleware, ...]
    sent_plain: SentPlain


def inference_optimizations(budgets: EarlyBudgets | None = None, clock: Clock = SYSTEM_CLOCK) -> InferenceOptimizations:
    """Return new optimizations: one set a process; `budgets` are what twins of slow calls are taken from."""
    sent_plain = SentPlain()
    return InferenceOptimizations(
        rewriters=(
            ModelRouting(),
            EffortRouting(),
            SelectiveContext(sent_plain),
            PromptTidy(),
            ContextCompression(sent_plain),
            PromptCache(),
        ),
        middlewares=(ResponseCache(clock), AdaptiveConcurrency(), RetryHedge(budgets=budgets), EndpointBalancing()),
        sent_plain=sent_plain,
    )
