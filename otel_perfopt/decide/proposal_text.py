"""How a proposal reads: a policy document and its finding in, commented YAML that a person can judge out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from textwrap import wrap
from typing import Any

import yaml

from otel_perfopt.analyse.finding import Finding, Interval
from otel_perfopt.decide.alert_rules import alert_rules, alerts_text
from otel_perfopt.decide.implementation_plan import UNKNOWN_SIZE, ExpectedSize, implementation_plan
from otel_perfopt.decide.policy import OptimizationPolicy

_WIDTH = 100
_MOST_EVIDENCE = 5
_LONGEST = 600
# What would end a comment's line or could hide in it; names come from telemetry.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")


def proposal_text(
    document: Mapping[str, Any],
    policy: OptimizationPolicy,
    finding: Finding,
    predicted: Interval | None,
    *,
    day: date,
    size: ExpectedSize = UNKNOWN_SIZE,
) -> str:
    """Return the file: what was found, what to expect, step by step, and how to undo it as comments; then the policy.

    Prometheus rules for this change follow the policy, as comments that can be copied into a rule file.
    """
    name, kind = policy.name, policy.spec.kind
    notes = {
        "Found": finding.summary,
        "Does": kind.does,
        "Predicted": _prediction(finding, predicted),
        "Risk": kind.risk,
        "Units": _units(size),
        "Evidence": _evidence(finding),
        "Approve": f"perfopt approve {name}; if something should differ, edit this file first: it is then yours, and another approves",
        "Undo": f"perfopt rollback {name}, or remove this file; needs nobody's approval",
    }
    lines = [f"# Proposed on {day.isoformat()} by otel-perfopt. Nothing happens before somebody approves it."]
    for title, text in notes.items():
        lines += _comment(title, text)
    lines += _plan(policy, size)
    rules = alerts_text(alert_rules(policy), name).splitlines()
    alerts = [
        f"# Alerts, ready for Prometheus (perfopt plan {name} --alerts prints them):",
        *(f"#   {line}" for line in rules),
    ]
    return "\n".join(lines) + "\n" + document_text(document) + "\n".join(alerts) + "\n"


def document_text(document: Mapping[str, Any]) -> str:
    """Return a policy document as YAML without a comment."""
    return "\n".join(_document(document)) + "\n"


def _plan(policy: OptimizationPolicy, size: ExpectedSize) -> list[str]:
    lines = ["# Plan:"]
    for number, step in enumerate(implementation_plan(policy, size), start=1):
        gate = f", after approval ({step.gate})" if step.gate else ""
        units = f", about {step.units:,} units" if step.units is not None else ""
        days = f", {step.days:.3g} days" if step.days is not None else ""
        lines.append(f"#   {number}. {step.stage}: {step.does}{units}{days}{gate}")
    return [*lines, "#   at any time: harm, a fault of ours, a boundary or anybody takes it back at once"]


def _comment(title: str, text: str) -> list[str]:
    wrapped = wrap(_one_line(text), _WIDTH, break_long_words=False) or ["-"]
    return [f"# {title + ':' if not index else '':<11}{line}" for index, line in enumerate(wrapped)]


def _one_line(text: str) -> str:
    cleaned = _CONTROL.sub(" ", text)
    return cleaned if len(cleaned) <= _LONGEST else f"{cleaned[: _LONGEST - 1]}…"


def _prediction(finding: Finding, predicted: Interval | None) -> str:
    metric = finding.effect.metric
    if predicted is None:
        return f"how much {metric} it saves is not known yet"
    said = f"{metric} {_percent(predicted.estimate)} lower ({_percent(predicted.level)} interval "
    said += f"{_percent(predicted.low)} to {_percent(predicted.high)})"
    each = finding.effect.absolute
    return said if each is None else f"{said}; {each.estimate:.3g} {finding.effect.unit} a run"


def _units(size: ExpectedSize) -> str:
    if size.units is None:
        return "how many a verdict needs shows once the spread between them has been seen"
    days = f", {size.days:.3g} days at today's traffic" if size.days is not None else ""
    return f"about {size.units:,} until a verdict{days}"


def _evidence(finding: Finding) -> str:
    shown = [_one_line(item.trace_id or item.location) for item in finding.evidence[:_MOST_EVIDENCE]]
    more = len(finding.evidence) - len(shown)
    counted = f"{finding.occurrences:,} times in {finding.runs:,} runs by {finding.detector}"
    return f"{counted}; {', '.join(shown)}{f' and {more} more' if more > 0 else ''}" if shown else counted


def _percent(fraction: float) -> str:
    return f"{fraction * 100:.3g}%"


def _document(document: Mapping[str, Any]) -> list[str]:
    metadata, spec = document["metadata"], document["spec"]
    lines = [f"{key}: {_flow(document[key])}" for key in ("apiVersion", "kind")]
    lines += ["metadata:", f"  name: {_flow(metadata['name'])}", "  annotations:"]
    lines += [f"    {key}: {_flow(_cleaned(value))}" for key, value in metadata["annotations"].items()]
    lines.append("spec:")
    return [*lines, *(f"  {key}: {_flow(value)}" for key, value in spec.items())]


def _cleaned(value: object) -> object:
    return _one_line(value) if isinstance(value, str) else value


def _flow(value: object) -> str:
    """Return a value as YAML on one line; inside a list even plain words come without a document's end."""
    text = _dumped(value, readable=True)
    # Some line breaks of Unicode come back as spaces unless they are escaped.
    if yaml.safe_load(text) != [value]:
        text = _dumped(value, readable=False)
    return text.strip()[1:-1]


def _dumped(value: object, *, readable: bool) -> str:
    return yaml.safe_dump([value], default_flow_style=True, allow_unicode=readable, sort_keys=False, width=2**31)
