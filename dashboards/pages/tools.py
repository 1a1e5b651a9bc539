"""Tools: which are slow, busy and failing, and what of their work is for nothing."""

from __future__ import annotations

from typing import Any

from dashboards import query as q
from dashboards.goals import goal_lines
from dashboards.page import Section, page, traces_link
from dashboards.panel import Column, Query, bars, lines, rows
from otel_perfopt import conventions as c

_TOOL = "{{" + q.label(c.GEN_AI_TOOL_NAME) + "}}"
_TRACES = traces_link("its traces", {c.GEN_AI_TOOL_NAME: "${__field.labels." + q.label(c.GEN_AI_TOOL_NAME) + "}"})
_ROW_TRACES = traces_link("its traces", {c.GEN_AI_TOOL_NAME: "${__data.fields.tool}"})


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    return page(
        "tools",
        "Agents: tools",
        "Which tools are slow, busy and failing, and what of their work is for nothing.",
        (
            Section("At a glance", (_table(), _busy())),
            Section("How long", _durations()),
            Section("Errors and waste", _errors()),
        ),
    )


def _table() -> Any:
    name, metric = c.GEN_AI_TOOL_NAME, c.METRIC_TOOL_DURATION
    return rows(
        "Tools",
        "Over the time of one step of the graphs below.",
        {q.label(name): "tool"},
        (
            Column(f"60 * {q.count_rate(metric, name)}", "calls a minute", decimals=1),
            Column(q.quantile(0.5, metric, name), "median", "s"),
            Column(q.quantile(0.95, metric, name), "p95", "s"),
            Column(q.quantile(0.99, metric, name), "p99", "s"),
        ),
        width=14,
        height=10,
        sort_by="p95",
        descending=True,
        links=(_ROW_TRACES,),
    )


def _busy() -> Any:
    return bars(
        "Calls under way",
        "Seconds of work a second: how many calls of each tool are under way on average.",
        "none",
        Query(q.sum_rate(c.METRIC_TOOL_DURATION, c.GEN_AI_TOOL_NAME), _TOOL),
        width=10,
        height=10,
    )


def _durations() -> tuple[Any, ...]:
    metric, name = c.METRIC_TOOL_DURATION, c.GEN_AI_TOOL_NAME
    return (
        lines(
            "95th percentile",
            "Each dot is one call and leads to its trace.",
            "s",
            Query(q.quantile(0.95, metric, name), _TOOL, exemplar=True),
            links=(_TRACES,),
        ),
        lines(
            "Calls a minute", "Of each tool.", "short", Query(f"60 * {q.count_rate(metric, name)}", _TOOL), stacked=True
        ),
        goal_lines("tool_time", "Tool time of a command against its goal", 24),
    )


def _errors() -> tuple[Any, ...]:
    kinds = q.rate(q.counter(c.METRIC_ERRORS, q.AGENTS, q.equals(c.STEP_KIND, c.STEP_TOOL)), c.ERROR_TYPE)
    lost = q.rate(q.counter(c.METRIC_ERROR_TIME, q.AGENTS), c.STEP_KIND)
    return (
        lines(
            "Errors of tools a minute",
            "By what went wrong.",
            "short",
            Query(f"60 * {kinds}", "{{" + q.label(c.ERROR_TYPE) + "}}"),
            width=8,
            stacked=True,
        ),
        lines(
            "Time lost to errors",
            "Seconds a minute that steps took which then failed, by kind of step.",
            "s",
            Query(f"60 * {lost}", "{{" + q.label(c.STEP_KIND) + "}}"),
            width=8,
        ),
        lines(
            "Tool time wasted a minute",
            "Reads that gave the same again for the same arguments within one run.",
            "s",
            Query(
                f"60 * {q.sum_rate(c.METRIC_WASTED_TOOL_TIME, c.COMMAND_NAME)}",
                "{{" + q.label(c.COMMAND_NAME) + "}}",
            ),
            width=8,
        ),
    )
