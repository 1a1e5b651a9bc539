"""Policies and verdicts: where each stands, what it changed, whether it harms, and what was predicted."""

from __future__ import annotations

from typing import Any

from dashboards import codes
from dashboards import query as q
from dashboards.page import POLICY, Section, page
from dashboards.panel import Column, Query, lines, numbers, rows, timeline
from otel_perfopt import conventions as c

_CHOSEN = f'{q.label(c.POLICY)}=~"$policy"'
_UNDER_WAY = (c.STATE_CODES["dormant"], c.STATE_CODES["canary"])
_POLICY = "{{" + q.label(c.POLICY) + "}}"
_METRIC = "{{" + q.label(c.COMPARED_METRIC) + "}}"


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    return page(
        "policies",
        "Agents: policies and verdicts",
        "Where each policy stands, what it changed, whether it harms; every change of state is marked.",
        (
            Section("Where they stand", _standing()),
            Section("What they change", _effects()),
            Section("Whether they harm", _guardrails()),
            Section("Evidence and approvals", _evidence()),
        ),
        variables=(POLICY,),
    )


def _one(name: q.Name, *by: str, matchers: tuple[str, ...] = ()) -> str:
    return q.greatest(q.gauge(name, _CHOSEN, *matchers), c.POLICY, *by)


def _effect(part: str, *by: str, role: str = "goal") -> str:
    matchers = (q.equals(c.COMPARED_ROLE, role), q.equals(c.INTERVAL_PART, part))
    return _one(c.METRIC_POLICY_EFFECT, *by, matchers=matchers)


def _predicted(part: str) -> str:
    return _one(c.METRIC_POLICY_PREDICTED, matchers=(q.equals(c.INTERVAL_PART, part),))


def _standing() -> tuple[Any, ...]:
    return (
        timeline(
            "States",
            "The life of each policy; marks above other graphs are its changes.",
            codes.STATES,
            Query(_one(c.METRIC_POLICY_STATE), _POLICY),
            width=16,
        ),
        timeline(
            "Verdicts",
            "Valid however often one looks.",
            codes.VERDICTS,
            Query(_one(c.METRIC_POLICY_VERDICT), _POLICY),
            width=8,
        ),
    )


def _effects() -> tuple[Any, ...]:
    return (
        lines(
            "Effect on the goal, with its interval",
            "Change of the goal metric, treatment against baseline (−30 %: a third less). The interval holds at any "
            "look: below zero all along means that less is shown.",
            "percentunit",
            Query(_effect(c.INTERVAL_HIGH, c.COMPARED_METRIC), f"{_POLICY} {_METRIC}: at most"),
            Query(_effect(c.INTERVAL_ESTIMATE, c.COMPARED_METRIC), f"{_POLICY} {_METRIC}: estimate"),
            Query(_effect(c.INTERVAL_LOW, c.COMPARED_METRIC), f"{_POLICY} {_METRIC}: at least"),
            least=None,
        ),
        rows(
            "Predicted and realised",
            "What the proposal said before anything changed, beside what is measured.",
            {q.label(c.POLICY): "policy"},
            (
                Column(_predicted(c.INTERVAL_LOW), "predicted from", "percentunit", decimals=1),
                Column(_predicted(c.INTERVAL_ESTIMATE), "predicted", "percentunit", decimals=1),
                Column(_predicted(c.INTERVAL_HIGH), "predicted to", "percentunit", decimals=1),
                Column(_effect(c.INTERVAL_LOW), "realised from", "percentunit", decimals=1),
                Column(_effect(c.INTERVAL_ESTIMATE), "realised", "percentunit", decimals=1),
                Column(_effect(c.INTERVAL_HIGH), "realised to", "percentunit", decimals=1),
            ),
            width=12,
        ),
    )


def _guardrails() -> tuple[Any, ...]:
    return (
        timeline(
            "Guardrails",
            "Held: shown to be no worse than tolerated. Harmed: shown to be worse; the policy is taken back.",
            codes.GUARDRAILS,
            Query(_one(c.METRIC_POLICY_GUARDRAIL, c.COMPARED_METRIC), f"{_POLICY} {_METRIC}"),
            width=12,
            height=9,
        ),
        lines(
            "Evidence of harm",
            "How far the test has come on a logarithmic scale: at 100 % harm is shown and the policy is taken back.",
            "percentunit",
            Query(_one(c.METRIC_POLICY_EVIDENCE, c.COMPARED_METRIC), f"{_POLICY} {_METRIC}"),
            width=12,
            height=9,
        ),
        lines(
            "Effect on guarded metrics",
            "The estimate; relative, or in points where the guardrail is in points.",
            "percentunit",
            Query(_effect(c.INTERVAL_ESTIMATE, c.COMPARED_METRIC, role="guardrail"), f"{_POLICY} {_METRIC}"),
            width=24,
            least=None,
        ),
    )


def _evidence() -> tuple[Any, ...]:
    return (
        lines(
            "Units in each arm",
            "Conversations or users compared so far in this trial.",
            "short",
            Query(_one(c.METRIC_POLICY_UNITS, c.ARM), _POLICY + " {{" + q.label(c.ARM) + "}}"),
            width=8,
        ),
        lines(
            "Treated",
            "Share of all units that a policy treats.",
            "percentunit",
            Query(_one(c.METRIC_POLICY_EXPOSURE), _POLICY),
            width=8,
        ),
        lines(
            "Waiting for approval",
            "How long the next gate has been waiting for somebody.",
            "s",
            Query(_one(c.METRIC_POLICY_WAITING), _POLICY),
            width=8,
        ),
        numbers(
            "Rolled back",
            "How often each policy was taken back, by itself or by a person.",
            "short",
            Query(q.greatest(q.counter(c.METRIC_POLICY_ROLLBACKS, _CHOSEN), c.POLICY), _POLICY),
            width=12,
            height=5,
            steps=((None, "green"), (1, "red")),
        ),
        numbers(
            "Expected time to a verdict",
            "At today's traffic, approvals not counted; zero: the expected number of units is there.",
            "s",
            Query(q.in_states(q.gauge(c.METRIC_POLICY_REMAINING, _CHOSEN), *_UNDER_WAY), _POLICY),
            width=12,
            height=5,
        ),
    )
