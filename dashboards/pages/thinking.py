"""Thinking: how much of the time and of the tokens goes into it, and how long a phase lasts."""

from __future__ import annotations

from typing import Any

from dashboards import query as q
from dashboards.goals import goal_lines, goal_numbers
from dashboards.page import Section, page, traces_link
from dashboards.panel import Query, lines, spread
from otel_perfopt import conventions as c

_SERVICE = "{{job}}"
_MODEL = "{{" + q.label(c.GEN_AI_REQUEST_MODEL) + "}}"
_TRACES = traces_link("traces of the service", {c.STEP_KIND: c.STEP_THINKING})


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    return page(
        "thinking",
        "Agents: thinking",
        "How much time and how many tokens go into thinking.",
        (
            Section(
                "Goal", (goal_numbers("thinking_time", "Thinking time"), goal_lines("thinking_time", "Over time", 18))
            ),
            Section("Phases", _phases()),
            Section("Share", _shares()),
        ),
    )


def _phases() -> tuple[Any, ...]:
    metric = c.METRIC_THINKING_DURATION
    return (
        lines(
            "How long a phase lasts",
            "Median and 95th percentile; each dot is one phase and leads to its trace.",
            "s",
            Query(q.quantile(0.95, metric, "job"), f"p95 {_SERVICE}", exemplar=True),
            Query(q.quantile(0.5, metric, "job"), f"p50 {_SERVICE}"),
            width=8,
            links=(_TRACES,),
        ),
        spread(
            "Distribution",
            "How many phases lasted how long.",
            "s",
            Query(q.rate(q.histogram(metric, q.AGENTS))),
            width=8,
        ),
        lines(
            "Phases a minute",
            "Of each service.",
            "short",
            Query(f"60 * {q.count_rate(metric, 'job')}", _SERVICE),
            width=8,
        ),
    )


def _shares() -> tuple[Any, ...]:
    thought, worked = (q.sum_rate(name, "job") for name in (c.METRIC_THINKING_DURATION, c.METRIC_COMMAND_DURATION))
    modelled = q.sum_rate(c.METRIC_INFERENCE_DURATION, "job")

    def tokens(kind: str) -> str:
        return q.rate(q.counter(c.METRIC_TOKENS, q.AGENTS, q.equals(c.TOKEN_TYPE, kind)), c.GEN_AI_REQUEST_MODEL)

    return (
        lines(
            "Share of a command's time",
            "Thinking over everything commands did; can pass 100 % where several phases run at once.",
            "percentunit",
            Query(f"{thought} / {worked}", _SERVICE),
            width=8,
        ),
        lines(
            "Share of the model's time",
            "Thinking over the time of model calls.",
            "percentunit",
            Query(f"{thought} / {modelled}", _SERVICE),
            width=8,
        ),
        lines(
            "Share of output tokens",
            "Reasoning tokens over all that a model wrote.",
            "percentunit",
            Query(f"{tokens('reasoning')} / {tokens('output')}", _MODEL),
            width=8,
        ),
    )
