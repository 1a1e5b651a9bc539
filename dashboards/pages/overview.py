"""Overview: are the agents as fast, cheap and right as they should be, what is being done about it, what comes next."""

from __future__ import annotations

from typing import Any

from dashboards import codes
from dashboards import query as q
from dashboards.goals import goal_lines, goal_numbers
from dashboards.page import Section, page
from dashboards.panel import Column, Query, lines, numbers, rows
from otel_perfopt import conventions as c

_STATE = q.gauge(c.METRIC_POLICY_STATE)
_KEYS = {q.label(c.POLICY): "policy", q.label(c.OPTIMIZATION): "optimization"}
_PLANNED_TO_ACTIVE = (c.STATE_CODES["dormant"], c.STATE_CODES["active"])
_QUEUED = (c.STATE_CODES["dormant"], c.STATE_CODES["canary"])
_POLICY_LINK = (
    "verdict and guardrails",
    f"/d/perfopt-policies?var-policy=${{__data.fields.{_KEYS[q.label(c.POLICY)]}}}",
)


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    return page(
        "overview",
        "Agents: overview",
        "Current, target and improvement; active optimizations with status and impact; what comes next.",
        (
            Section("Goals", _goals()),
            Section("Optimizations", (_active(), _queue())),
            Section("Right now", _now()),
        ),
    )


def _goals() -> tuple[Any, ...]:
    return (
        goal_numbers("response_time", "Response time"),
        goal_numbers("tokens", "Token usage"),
        goal_numbers("success", "Success rate"),
        goal_numbers("satisfaction", "User satisfaction"),
        goal_lines("response_time", "Response time: current, without optimizations, target"),
        goal_lines("tokens", "Tokens: current, without optimizations, target"),
    )


def _goal_effect(part: str) -> str:
    return q.gauge(c.METRIC_POLICY_EFFECT, q.equals(c.COMPARED_ROLE, "goal"), q.equals(c.INTERVAL_PART, part))


def _predicted(part: str) -> str:
    return q.gauge(c.METRIC_POLICY_PREDICTED, q.equals(c.INTERVAL_PART, part))


def _active() -> Any:
    def of(expression: str) -> str:
        return q.in_states(expression, *_PLANNED_TO_ACTIVE)

    return rows(
        "Active optimizations",
        "Every policy that is not over. Impact is the change of its goal metric, treatment against baseline, with the "
        "interval that holds at any look; an empty impact means that nothing is measured yet.",
        _KEYS,
        (
            Column(q.in_states(_STATE, *_PLANNED_TO_ACTIVE, c.OPTIMIZATION), "status", codes=codes.STATES),
            Column(of(q.gauge(c.METRIC_POLICY_EXPOSURE)), "treated", "percentunit"),
            Column(of(_goal_effect(c.INTERVAL_ESTIMATE)), "impact", "percentunit", decimals=1),
            Column(of(_goal_effect(c.INTERVAL_LOW)), "from", "percentunit", decimals=1),
            Column(of(_goal_effect(c.INTERVAL_HIGH)), "to", "percentunit", decimals=1),
            Column(of(_predicted(c.INTERVAL_ESTIMATE)), "predicted", "percentunit", decimals=1),
            Column(of(q.gauge(c.METRIC_POLICY_VERDICT)), "verdict", codes=codes.VERDICTS),
            Column(of(q.total(q.gauge(c.METRIC_POLICY_UNITS), c.POLICY)), "units"),
        ),
        height=6,
        sort_by="status",
        descending=True,
        links=(_POLICY_LINK,),
    )


def _queue() -> Any:
    def of(expression: str) -> str:
        return q.in_states(expression, *_QUEUED)

    return rows(
        "Optimization queue",
        "What is not decided yet, as perfopt status ranks it (expected saving × chance of success ÷ risk): estimated impact with its interval, risk, and how "
        "long a verdict should take at today's traffic, approvals not counted.",
        _KEYS,
        (
            Column(q.in_states(_STATE, *_QUEUED, c.OPTIMIZATION), "status", codes=codes.STATES),
            Column(of(_predicted(c.INTERVAL_ESTIMATE)), "estimated impact", "percentunit", decimals=1),
            Column(of(_predicted(c.INTERVAL_LOW)), "from", "percentunit", decimals=1),
            Column(of(_predicted(c.INTERVAL_HIGH)), "to", "percentunit", decimals=1),
            Column(of(q.gauge(c.METRIC_POLICY_REMAINING)), "expected time", "s"),
            Column(of(q.gauge(c.METRIC_POLICY_RISK)), "risk", codes=codes.RISKS),
            Column(of(q.gauge(c.METRIC_POLICY_WAITING)), "waits for approval", "s"),
            Column(of(q.gauge(c.METRIC_POLICY_PRIORITY)), "priority", "short", decimals=3),
        ),
        height=6,
        sort_by="priority",
        links=(_POLICY_LINK,),
    )


def _now() -> tuple[Any, ...]:
    failed = q.count_rate(c.METRIC_COMMAND_DURATION, matchers=(q.equals(c.COMMAND_OUTCOME, "failed"),))
    return (
        numbers(
            "Commands a minute",
            "Commands that ended, all services chosen above.",
            "short",
            Query(f"60 * {q.count_rate(c.METRIC_COMMAND_DURATION)}"),
            spark=True,
        ),
        numbers(
            "95 % take at most",
            "The 95th percentile of command durations.",
            "s",
            Query(q.quantile(0.95, c.METRIC_COMMAND_DURATION)),
            spark=True,
        ),
        numbers(
            "Failed",
            "Share of commands that failed.",
            "percentunit",
            Query(f"({failed} or vector(0)) / {q.count_rate(c.METRIC_COMMAND_DURATION)}"),
            steps=((None, "green"), (0.05, "orange"), (0.2, "red")),
            spark=True,
        ),
        numbers(
            "Cost an hour",
            "What model calls cost at present, by the price table of the agents.",
            "currencyUSD",
            Query(f"3600 * {q.rate(q.counter(c.METRIC_COST, q.AGENTS))}"),
            decimals=2,
            spark=True,
        ),
        numbers(
            "Wait for approval",
            "Policies whose next gate somebody must approve.",
            "short",
            Query(f"count({q.greatest(q.gauge(c.METRIC_POLICY_WAITING), c.POLICY)} > 0) or vector(0)"),
            steps=((None, "green"), (1, "yellow")),
        ),
        numbers(
            "Optimizations",
            "Whether everything is switched off by a kill.",
            "short",
            Query(q.greatest(q.gauge(c.METRIC_KILLED))),
            codes=codes.OPTIMIZING,
        ),
        lines(
            "Duration by command",
            "Median and 95th percentile; each dot is one run and leads to its trace.",
            "s",
            Query(
                q.quantile(0.95, c.METRIC_COMMAND_DURATION, c.COMMAND_NAME),
                "p95 {{perfopt_command_name}}",
                exemplar=True,
            ),
            Query(q.quantile(0.5, c.METRIC_COMMAND_DURATION, c.COMMAND_NAME), "p50 {{perfopt_command_name}}"),
        ),
        lines(
            "Tokens a minute by kind",
            "Input includes what was read from the provider's cache and what had been sent before.",
            "short",
            Query(f"60 * {q.rate(q.counter(c.METRIC_TOKENS, q.AGENTS), c.TOKEN_TYPE)}", "{{gen_ai_token_type}}"),
        ),
    )
