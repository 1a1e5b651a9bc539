"""A policy in, the Prometheus rules that watch it out: harm, roll-back, lost benefit or lease, waiting approval."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from otel_perfopt import conventions as c
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.prometheus_name import COUNTER, GAUGE, label_name, metric_name
from otel_perfopt.decide.quantity import format_duration
from otel_perfopt.decide.rollout import METRICS

# A guardrail at this share of what shows harm is worth a look before the policy is taken back by itself.
NEAR_HARM = 0.5
WAITS_TOO_LONG_S = 24 * 3600.0
_PREFIX = "perfopt"
_POLICY, _METRIC, _PART = (label_name(name) for name in (c.POLICY, c.COMPARED_METRIC, c.INTERVAL_PART))
_HELD_BACK_S = 3600.0


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One alert: its name, PromQL, how long that must hold (seconds), how bad it is, what it says and its labels."""

    alert: str
    expression: str
    severity: str
    summary: str
    description: str
    for_s: float = 0.0
    labels: Mapping[str, str] | None = None

    def document(self) -> dict[str, Any]:
        """Return it as it stands in a rule file."""
        return {
            "alert": self.alert,
            "expr": self.expression,
            "for": format_duration(self.for_s) if self.for_s else "0s",
            "labels": {"severity": self.severity, **(self.labels or {})},
            "annotations": {"summary": self.summary, "description": self.description},
        }


def rules_of(policy: OptimizationPolicy) -> dict[str, Any]:
    """Return one policy's rule group, as it stands under `groups` of a rule file."""
    alerts = (rule.document() for rule in alert_rules(policy))
    return {"name": _group(policy.name), "rules": [*_recording_rules(policy), *alerts]}


def rules_text(policies: Iterable[OptimizationPolicy]) -> str:
    """Return a rule file with one group a policy."""
    return _file([rules_of(policy) for policy in policies])


def alerts_text(rules: Iterable[AlertRule], name: str) -> str:
    """Return a rule file with the alerts of the policy `name` alone."""
    return _file([{"name": _group(name), "rules": [rule.document() for rule in rules]}])


def alert_rules(policy: OptimizationPolicy) -> tuple[AlertRule, ...]:
    """Return the alerts for one policy, on the metrics that the controller emits of it.

    None of them is needed to take it back: that happens by itself. They tell people.
    """
    labels = {_POLICY: policy.name}
    if policy.metadata.owner:
        labels["owner"] = policy.metadata.owner
    rules = (*_harm_alerts(policy, labels), *_waiting_alerts(policy, labels))
    return (*rules, *_active_alerts(policy, labels)) if policy.spec.mode == "active" else rules


def _group(name: str) -> str:
    return f"{_PREFIX}-{name}"


def _file(groups: list[dict[str, Any]]) -> str:
    text: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=10_000, allow_unicode=True)
    return text


def _recording_rules(policy: OptimizationPolicy) -> Iterator[Mapping[str, Any]]:
    """Yield what panels and alerts of this policy read: its exposure, its effect with both ends, its evidence of harm."""
    name, labels = policy.name, {_POLICY: policy.name}
    yield _record("exposure", f"max({_of(c.METRIC_POLICY_EXPOSURE, name)})", labels)
    effect = _of(c.METRIC_POLICY_EFFECT, name, f'{label_name(c.COMPARED_ROLE)}="goal"')
    yield _record("effect", f"max by ({_PART}, {_METRIC}) ({effect})", labels)
    yield _record("harm_evidence", f"max by ({_METRIC}) ({_of(c.METRIC_POLICY_EVIDENCE, name)})", labels)


def _harm_alerts(policy: OptimizationPolicy, labels: Mapping[str, str]) -> Iterator[AlertRule]:
    name, owner = policy.name, policy.metadata.owner
    guardrail, evidence = _of(c.METRIC_POLICY_GUARDRAIL, name), _of(c.METRIC_POLICY_EVIDENCE, name)
    rollbacks = _of(c.METRIC_POLICY_ROLLBACKS, name, kind=COUNTER)
    yield AlertRule(
        "PerfoptGuardrailHarmed",
        f"max by ({_METRIC}) ({guardrail}) < 0",
        severity="page",
        summary=f"{{{{ $labels.{_METRIC} }}}} is shown to be worse under {name} than it tolerates",
        description=f"It is taken back by itself. Look at the verdict with: perfopt status. Owner: {owner or 'not named'}.",
        labels=labels,
    )
    yield AlertRule(
        "PerfoptNearHarm",
        f"max by ({_METRIC}) ({evidence}) > {NEAR_HARM:g} < 1",
        severity="ticket",
        summary=f"{name} is on its way to harm {{{{ $labels.{_METRIC} }}}}",
        description="Evidence stands at {{ $value | humanizePercentage }} of what shows harm (logarithmic); it may still go back.",
        for_s=600.0,
        labels=labels,
    )
    # The counter begins with the ledger, so the first roll-back is a new value, not a new series.
    yield AlertRule(
        "PerfoptRolledBack",
        f"max(increase({rollbacks}[15m])) > 0",
        severity="ticket",
        summary=f"{name} was taken back",
        description=f"Why: perfopt ledger show. It stays away for its cool-down; again with: perfopt retry {name} --reason …",
        labels=labels,
    )


def _waiting_alerts(policy: OptimizationPolicy, labels: Mapping[str, str]) -> Iterator[AlertRule]:
    name = policy.name
    renewed, lease = (metric_name(*one, GAUGE) for one in (c.METRIC_SNAPSHOT_TIME, c.METRIC_SNAPSHOT_LEASE))
    yield AlertRule(
        "PerfoptLeaseLost",
        # Of the last ten minutes, because a controller that is silent says nothing of its silence.
        f"time() - max(last_over_time({renewed}[10m])) > max(last_over_time({lease}[10m])) "
        f"and on () (max(last_over_time({_of(c.METRIC_POLICY_EXPOSURE, name)}[10m])) > 0)",
        severity="page",
        summary=f"{name} is not applied any more: the controller has been silent for longer than its lease",
        description="Agents fell back to baseline by themselves. Is perfopt loop running, and can it write its snapshot?",
        labels=labels,
    )
    yield AlertRule(
        "PerfoptApprovalWaits",
        f"max({_of(c.METRIC_POLICY_WAITING, name)}) > {WAITS_TOO_LONG_S:g}",
        severity="ticket",
        summary=f"{name} has been waiting for an approval for {{{{ $value | humanizeDuration }}}}",
        description=f"perfopt status says for which gate; perfopt approve {name} or perfopt reject {name}.",
        labels=labels,
    )


def _active_alerts(policy: OptimizationPolicy, labels: Mapping[str, str]) -> Iterator[AlertRule]:
    name, goal = policy.name, policy.spec.goal.metric
    is_active = f"max({_of(c.METRIC_POLICY_STATE, name)}) == {c.STATE_CODES['active']}"
    yield AlertRule(
        "PerfoptActiveUntreated",
        f"{is_active} unless on () (max({_of(c.METRIC_POLICY_EXPOSURE, name)}) > 0)",
        severity="ticket",
        summary=f"{name} is active and nobody is treated",
        description="A boundary, a kill or a changed file keeps it from being published: perfopt status.",
        for_s=300.0,
        labels=labels,
    )
    yield AlertRule(
        "PerfoptBenefitGone",
        f"{_not_better(policy)} and on () ({is_active})",
        severity="ticket",
        summary=f"{name} is active, and its {goal} is not shown to be better than that of the hold-back",
        description="It is retired by itself once the benefit is shown to be gone; until then: perfopt status.",
        for_s=_HELD_BACK_S,
        labels=labels,
    )


def _not_better(policy: OptimizationPolicy) -> str:
    """Return what holds while the goal's interval reaches to no effect."""
    goal = policy.spec.goal
    higher = METRICS[goal.metric].higher_is_better
    matchers = {
        _METRIC: goal.metric,
        label_name(c.COMPARED_ROLE): "goal",
        _PART: c.INTERVAL_LOW if higher else c.INTERVAL_HIGH,
    }
    effect = _of(c.METRIC_POLICY_EFFECT, policy.name, *(f'{name}="{value}"' for name, value in matchers.items()))
    return f"max({effect}) {'<=' if higher else '>='} 0"


def _record(what: str, expr: str, labels: Mapping[str, str]) -> Mapping[str, Any]:
    return {"record": f"{_PREFIX}:policy_{what}:max", "expr": expr, "labels": dict(labels)}


def _of(name: tuple[str, str], policy: str, *matchers: str, kind: str = GAUGE) -> str:
    inside = ",".join((f'{_POLICY}="{policy}"', *matchers))
    return f"{metric_name(*name, kind)}{{{inside}}}"
