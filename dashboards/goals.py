"""A goal's name in, the panel that shows where it stands: current, target, improvement, and what that is measured against."""

from __future__ import annotations

from typing import Any

from dashboards import query as q
from dashboards.panel import Query, lines, numbers
from otel_perfopt import conventions as c

# Metric, unit in Grafana, and what it is the mean of.
GOALS = {
    "response_time": (c.METRIC_GOAL_RESPONSE, "s", "how long a command takes"),
    "tokens": (c.METRIC_GOAL_TOKENS, "short", "how many tokens a command uses, input and output"),
    "success": (c.METRIC_GOAL_SUCCESS, "percentunit", "how many commands complete"),
    "satisfaction": (c.METRIC_GOAL_SATISFACTION, "short", "how users or judges score a command"),
    "thinking_time": (c.METRIC_GOAL_THINKING, "s", "how long a command thinks, where it does"),
    "tool_time": (c.METRIC_GOAL_TOOLS, "s", "how long at least one tool of a command works, where any does"),
}


def goal_numbers(goal: str, title: str, width: int = 6) -> Any:
    """Return a goal as numbers."""
    metric, unit, meaning = GOALS[goal]
    in_what = " (points)" if unit == "percentunit" else ""
    achieved, asked = (f"improvement {word}{in_what}" for word in ("achieved", "asked"))
    return numbers(
        title,
        f"Mean over the last hour: {meaning}. The reference is the same mix of commands where no policy treats it; "
        "achieved is current against reference (positive is better), asked is target against reference.",
        unit,
        Query(_value(metric, c.GOAL_CURRENT), "current"),
        Query(_value(metric, c.GOAL_TARGET), "target"),
        Query(_improvement(goal, c.GOAL_ACHIEVED), achieved),
        Query(_improvement(goal, c.GOAL_ASKED), asked),
        width=width,
        height=7,
        units={achieved: "percentunit", asked: "percentunit"},
    )


def goal_lines(goal: str, title: str, width: int = 12) -> Any:
    """Return a goal over time."""
    metric, unit, meaning = GOALS[goal]
    return lines(
        title,
        f"Mean over the last hour of {meaning}: as it is, as it would be without optimizations, and as it should be.",
        unit,
        *(Query(_value(metric, part), part) for part in (c.GOAL_CURRENT, c.GOAL_REFERENCE, c.GOAL_TARGET)),
        width=width,
    )


def _value(metric: q.Name, part: str) -> str:
    return q.greatest(q.gauge(metric, q.equals(c.GOAL_VALUE, part)))


def _improvement(goal: str, part: str) -> str:
    return q.greatest(q.gauge(c.METRIC_GOAL_IMPROVEMENT, q.equals(c.GOAL, goal), q.equals(c.GOAL_VALUE, part)))
