"""Commands: which take long, fail, cost and waste, and how far their steps overlap."""

from __future__ import annotations

from typing import Any

from dashboards import query as q
from dashboards.goals import goal_lines
from dashboards.page import Section, page, traces_link
from dashboards.panel import Column, Query, lines, rows, spread
from otel_perfopt import conventions as c

COMMAND = "{{" + q.label(c.COMMAND_NAME) + "}}"
_FAILED = (q.equals(c.COMMAND_OUTCOME, "failed"),)
_TRACES = traces_link("its traces", {c.COMMAND_NAME: "${__field.labels." + q.label(c.COMMAND_NAME) + "}"})
_ROW_TRACES = traces_link("its traces", {c.COMMAND_NAME: "${__data.fields.command}"})


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    return page(
        "commands",
        "Agents: commands",
        "Which commands take long, fail, cost and waste.",
        (
            Section("At a glance", (_table(),)),
            Section("How long", _durations()),
            Section("How they end, what they cost", _outcomes()),
            Section("Where time is lost", _waste()),
        ),
    )


def _table() -> Any:
    name = c.COMMAND_NAME
    ended = q.count_rate(c.METRIC_COMMAND_DURATION, name)
    failed = q.count_rate(c.METRIC_COMMAND_DURATION, name, matchers=_FAILED)
    return rows(
        "Commands",
        "Over the time of one step of the graphs below.",
        {q.label(name): "command"},
        (
            Column(f"60 * {ended}", "a minute", decimals=1),
            Column(q.quantile(0.5, c.METRIC_COMMAND_DURATION, name), "median", "s"),
            Column(q.quantile(0.95, c.METRIC_COMMAND_DURATION, name), "p95", "s"),
            Column(f"({failed} or 0 * {ended}) / {ended}", "failed", "percentunit", decimals=1),
            Column(q.mean(c.METRIC_COMMAND_COST, name), "cost each", "currencyUSD", decimals=4),
            Column(q.mean(c.METRIC_WASTED_TOOL_TIME, name), "wasted each", "s"),
            Column(q.mean(c.METRIC_RESENT_SHARE, name), "sent again", "percentunit"),
        ),
        height=6,
        sort_by="p95",
        descending=True,
        links=(_ROW_TRACES,),
    )


def _durations() -> tuple[Any, ...]:
    return (
        lines(
            "95th percentile",
            "Each dot is one run and leads to its trace; the greatest of each export is kept.",
            "s",
            Query(q.quantile(0.95, c.METRIC_COMMAND_DURATION, c.COMMAND_NAME), COMMAND, exemplar=True),
            links=(_TRACES,),
        ),
        lines(
            "Median",
            "Half of the runs take no longer.",
            "s",
            Query(q.quantile(0.5, c.METRIC_COMMAND_DURATION, c.COMMAND_NAME), COMMAND),
            links=(_TRACES,),
        ),
        spread(
            "Distribution",
            "How many runs took how long: two bands are two kinds of run.",
            "s",
            Query(q.rate(q.histogram(c.METRIC_COMMAND_DURATION, q.AGENTS)), "runs"),
        ),
        goal_lines("response_time", "Mean response time against its goal"),
    )


def _outcomes() -> tuple[Any, ...]:
    by_outcome = q.count_rate(c.METRIC_COMMAND_DURATION, c.COMMAND_OUTCOME)
    kinds = q.rate(q.counter(c.METRIC_ERRORS, q.AGENTS, q.equals(c.STEP_KIND, c.STEP_COMMAND)), c.ERROR_TYPE)
    return (
        lines(
            "Commands a minute by outcome",
            "Completed, failed, interrupted, abandoned.",
            "short",
            Query(f"60 * {by_outcome}", "{{" + q.label(c.COMMAND_OUTCOME) + "}}"),
            width=8,
            stacked=True,
        ),
        lines(
            "Failures a minute by error",
            "What commands ended with.",
            "short",
            Query(f"60 * {kinds}", "{{" + q.label(c.ERROR_TYPE) + "}}"),
            width=8,
            stacked=True,
        ),
        lines(
            "Cost of a command",
            "Mean of what one run's model calls cost.",
            "currencyUSD",
            Query(q.mean(c.METRIC_COMMAND_COST, c.COMMAND_NAME), COMMAND),
            width=8,
        ),
    )


def _waste() -> tuple[Any, ...]:
    return (
        lines(
            "Tool time wasted",
            "Seconds a run spends on reads that gave the same again for the same arguments.",
            "s",
            Query(q.mean(c.METRIC_WASTED_TOOL_TIME, c.COMMAND_NAME), COMMAND),
            width=8,
        ),
        lines(
            "Overlap reached and possible",
            "Busy over elapsed time of tool and model calls (1: one after another); possible is with the reads of one "
            "reply made together.",
            "none",
            Query(q.mean(c.METRIC_PARALLELISM_REACHED, c.COMMAND_NAME), f"reached {COMMAND}"),
            Query(q.mean(c.METRIC_PARALLELISM_POSSIBLE, c.COMMAND_NAME), f"possible {COMMAND}"),
            width=8,
            least=1.0,
        ),
        lines(
            "Context sent again",
            "Share of a run's input tokens that had been sent before.",
            "percentunit",
            Query(q.mean(c.METRIC_RESENT_SHARE, c.COMMAND_NAME), COMMAND),
            width=8,
        ),
    )
