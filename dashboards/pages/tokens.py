"""Tokens and context: what is sent, sent again, read from a cache and paid for, and how full the context is."""

from __future__ import annotations

from typing import Any

from dashboards import query as q
from dashboards.goals import goal_lines
from dashboards.page import Section, page, traces_link
from dashboards.panel import Query, lines, numbers, spread
from otel_perfopt import conventions as c

_MODEL = "{{" + q.label(c.GEN_AI_REQUEST_MODEL) + "}}"
_KIND = "{{" + q.label(c.TOKEN_TYPE) + "}}"
_TRACES = traces_link(
    "its traces", {c.GEN_AI_REQUEST_MODEL: "${__field.labels." + q.label(c.GEN_AI_REQUEST_MODEL) + "}"}
)


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    return page(
        "tokens",
        "Agents: tokens and context",
        "What is sent, sent again, read from a cache and paid for.",
        (
            Section("Tokens", _tokens()),
            Section("Context", _context()),
            Section("Model calls and cost", _calls()),
        ),
    )


def _of(kind: str, *by: str) -> str:
    return q.rate(q.counter(c.METRIC_TOKENS, q.AGENTS, q.equals(c.TOKEN_TYPE, kind)), *by)


def _share(kind: str, whole: str, *by: str) -> str:
    return f"({_of(kind, *by)} or 0 * {_of(whole, *by)}) / {_of(whole, *by)}"


def _tokens() -> tuple[Any, ...]:
    by_kind = q.rate(q.counter(c.METRIC_TOKENS, q.AGENTS), c.TOKEN_TYPE)
    return (
        lines(
            "Tokens a minute by kind",
            "Input includes cache_read, cache_write and resent; output includes reasoning.",
            "short",
            Query(f"60 * {by_kind}", _KIND),
        ),
        goal_lines("tokens", "Tokens of a command against their goal"),
        numbers("Read from cache", "Share of input tokens the provider had cached.", "percentunit",
                Query(_share("cache_read", "input")), width=6, decimals=1, spark=True),
        numbers("Sent again", "Share of input tokens that had been sent before in the conversation.", "percentunit",
                Query(_share("resent", "input")), width=6, decimals=1, spark=True),
        numbers("Reasoning", "Share of output tokens spent on reasoning.", "percentunit",
                Query(_share("reasoning", "output")), width=6, decimals=1, spark=True),
        numbers("Output for each input", "Tokens written for each token read.", "percentunit",
                Query(f"{_of('output')} / {_of('input')}"), width=6, decimals=1, spark=True),
    )  # fmt: skip


def _context() -> tuple[Any, ...]:
    model = c.GEN_AI_REQUEST_MODEL
    return (
        lines(
            "Context of a model call",
            "Input tokens of one call: median and 95th percentile.",
            "short",
            Query(q.quantile(0.95, c.METRIC_CONTEXT_TOKENS, model), f"p95 {_MODEL}"),
            Query(q.quantile(0.5, c.METRIC_CONTEXT_TOKENS, model), f"p50 {_MODEL}"),
            width=8,
        ),
        lines(
            "How full the window is",
            "Input tokens over the model's window, where its size is known (PERFOPT_CONTEXT_WINDOWS).",
            "percentunit",
            Query(q.quantile(0.95, c.METRIC_CONTEXT_USE, model), f"p95 {_MODEL}"),
            Query(q.quantile(0.5, c.METRIC_CONTEXT_USE, model), f"p50 {_MODEL}"),
            width=8,
        ),
        spread(
            "Distribution of context sizes",
            "How many calls had how many input tokens.",
            "short",
            Query(q.rate(q.histogram(c.METRIC_CONTEXT_TOKENS, q.AGENTS))),
            width=8,
        ),
    )


def _calls() -> tuple[Any, ...]:
    model = c.GEN_AI_REQUEST_MODEL
    lost = q.rate(q.counter(c.METRIC_ERROR_COST, q.AGENTS))
    return (
        lines(
            "Duration of a model call",
            "Each dot is one call and leads to its trace.",
            "s",
            Query(q.quantile(0.95, c.METRIC_INFERENCE_DURATION, model), f"p95 {_MODEL}", exemplar=True),
            Query(q.quantile(0.5, c.METRIC_INFERENCE_DURATION, model), f"p50 {_MODEL}"),
            width=8,
            links=(_TRACES,),
        ),
        lines(
            "Time to the first token",
            "Of streamed replies.",
            "s",
            Query(q.quantile(0.95, c.METRIC_FIRST_TOKEN, model), f"p95 {_MODEL}", exemplar=True),
            Query(q.quantile(0.5, c.METRIC_FIRST_TOKEN, model), f"p50 {_MODEL}"),
            width=8,
        ),
        lines(
            "Cost an hour",
            "By the agents' price table; lost is what calls cost that then failed.",
            "currencyUSD",
            Query(f"3600 * {q.rate(q.counter(c.METRIC_COST, q.AGENTS), model)}", _MODEL),
            Query(f"3600 * ({lost} or vector(0))", "lost to errors"),
            width=8,
        ),
    )
