"""What should wake somebody about one policy: a policy in, Prometheus alerting rules out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import yaml

from otel_perfopt import conventions as c
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.quantity import format_duration
from otel_perfopt.decide.rollout import METRICS

_SUFFIXES = {"s": "_seconds", "1": "_ratio", "By": "_bytes", "USD": "_USD"}
_WAITS_S = 86_400.0
# Evidence of harm, as a share of what shows it: past half way somebody should look.
_NEARLY = 0.5


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One rule: its name, PromQL, how long it must hold (seconds), how bad it is, and what it says."""

    alert: str
    expression: str
    for_s: float
    severity: str
    summary: str


def prometheus_name(metric: tuple[str, str], *, counter: bool = False) -> str:
    """Return a metric's name as the Collector's Prometheus exporter writes it."""
    name, unit = metric
    suffix = _SUFFIXES.get(unit, "")
    return name.replace(".", "_") + suffix + ("_total" if counter else "")


def alert_rules(policy: OptimizationPolicy, lease_s: float = 60.0) -> tuple[AlertRule, ...]:
    """Return the rules for one policy, on the metrics that the controller emits of it.

    None of them is needed to take it back: that happens by itself. They tell people.
    """
    name = policy.name
    of = f'{{{_label(c.POLICY)}="{name}"}}'
    state, goal = prometheus_name(c.METRIC_POLICY_STATE), policy.spec.goal.metric
    evidence = prometheus_name(c.METRIC_POLICY_EVIDENCE)
    rollbacks = prometheus_name(c.METRIC_POLICY_ROLLBACKS, counter=True)
    waiting = prometheus_name(c.METRIC_POLICY_WAITING)
    active = c.STATE_CODES["active"]
    guards = ", ".join(f"{guard.metric} {guard.margin}" for guard in policy.spec.guardrails) or "none"
    return (
        AlertRule("PerfoptRolledBack", f"increase({rollbacks}{of}[10m]) > 0", 0, "critical", f"{name} was taken back"),
        AlertRule(
            "PerfoptHarmNear",
            f"max by ({_label(c.COMPARED_METRIC)}) ({evidence}{of}) > {_NEARLY}",
            60,
            "warning",
            f"{name}: evidence of harm is past half way (tolerated: {guards})",
        ),
        AlertRule(
            "PerfoptBenefitGone",
            f"{_benefit_gone(policy)} and on() {state}{of} == {active}",
            3600,
            "warning",
            f"{name} is active, and its {goal} is not shown to be better than that of the hold-back",
        ),
        AlertRule(
            "PerfoptApprovalWaits",
            f"{waiting}{of} > {_WAITS_S:.0f}",
            0,
            "info",
            f"{name} has waited a day for approval: perfopt approve {name}",
        ),
        AlertRule(
            "PerfoptControllerSilent",
            f"time() - {prometheus_name(c.METRIC_SNAPSHOT_TIME)} > {lease_s:.0f}",
            60,
            "critical",
            f"the controller does not renew its snapshot; agents run {name} as baseline",
        ),
    )


def rules_yaml(rules: Iterable[AlertRule], group: str) -> str:
    """Return a Prometheus rule file with one group."""
    document = {"groups": [{"name": f"perfopt-{group}", "rules": [_rule(rule) for rule in rules]}]}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=2**31)


def _rule(rule: AlertRule) -> dict[str, object]:
    return {
        "alert": rule.alert,
        "expr": rule.expression,
        **({"for": format_duration(rule.for_s)} if rule.for_s else {}),
        "labels": {"severity": rule.severity},
        "annotations": {"summary": rule.summary},
    }


def _benefit_gone(policy: OptimizationPolicy) -> str:
    goal = policy.spec.goal
    higher = METRICS[goal.metric].higher_is_better
    worst = c.INTERVAL_LOW if higher else c.INTERVAL_HIGH
    labels = {
        c.POLICY: policy.name,
        c.COMPARED_METRIC: goal.metric,
        c.COMPARED_ROLE: "goal",
        c.INTERVAL_PART: worst,
    }
    selected = ",".join(f'{_label(name)}="{value}"' for name, value in labels.items())
    sign = "<=" if higher else ">="
    return f"{prometheus_name(c.METRIC_POLICY_EFFECT)}{{{selected}}} {sign} 0"


def _label(attribute: str) -> str:
    return attribute.replace(".", "_")
