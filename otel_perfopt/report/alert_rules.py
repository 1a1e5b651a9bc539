"""A policy in, the Prometheus rules that watch it out: harm, roll-back, waiting approval, a lease that runs out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from otel_perfopt import conventions as c
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.report.prometheus_name import COUNTER, GAUGE, label_name, metric_name

Rule = Mapping[str, Any]
# A guardrail at this share of what shows harm is worth a look before the policy is taken back by itself.
NEAR_HARM = 0.5
WAITS_TOO_LONG_S = 24 * 3600.0
_PREFIX = "perfopt"
_POLICY, _METRIC, _PART = (label_name(name) for name in (c.POLICY, c.COMPARED_METRIC, c.INTERVAL_PART))


def rules_of(policy: OptimizationPolicy) -> dict[str, Any]:
    """Return one policy's rule group, as it stands under `groups` of a rule file."""
    return {
        "name": f"{_PREFIX}-{policy.name}",
        "rules": [*_recording_rules(policy), *_alert_rules(policy)],
    }


def rules_text(policies: Iterable[OptimizationPolicy]) -> str:
    """Return a rule file with one group a policy."""
    groups = [rules_of(policy) for policy in policies]
    text: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=10_000, allow_unicode=True)
    return text


def _recording_rules(policy: OptimizationPolicy) -> Iterator[Rule]:
    """Yield what panels and alerts of this policy read: its exposure, its effect with both ends, its evidence of harm."""
    name, labels = policy.name, {_POLICY: policy.name}
    yield _record("exposure", f"max({_of(c.METRIC_POLICY_EXPOSURE, name)})", labels)
    effect = _of(c.METRIC_POLICY_EFFECT, name, f'{label_name(c.COMPARED_ROLE)}="goal"')
    yield _record("effect", f"max by ({_PART}, {_METRIC}) ({effect})", labels)
    yield _record("harm_evidence", f"max by ({_METRIC}) ({_of(c.METRIC_POLICY_EVIDENCE, name)})", labels)


def _alert_rules(policy: OptimizationPolicy) -> Iterator[Rule]:
    name, owner = policy.name, policy.metadata.owner
    guardrail, evidence = _of(c.METRIC_POLICY_GUARDRAIL, name), _of(c.METRIC_POLICY_EVIDENCE, name)
    rollbacks = _of(c.METRIC_POLICY_ROLLBACKS, name, kind=COUNTER)
    yield _alert(
        policy,
        "PerfoptGuardrailHarmed",
        f"max by ({_METRIC}) ({guardrail}) < 0",
        severity="page",
        summary=f"{{{{ $labels.{_METRIC} }}}} is shown to be worse under {name} than it tolerates",
        description=f"It is taken back by itself. Look at the verdict with: perfopt status. Owner: {owner or 'not named'}.",
    )
    yield _alert(
        policy,
        "PerfoptNearHarm",
        f"max by ({_METRIC}) ({evidence}) > {NEAR_HARM:g} < 1",
        severity="ticket",
        summary=f"{name} is on its way to harm {{{{ $labels.{_METRIC} }}}}",
        description="Evidence stands at {{ $value | humanizePercentage }} of what shows harm (logarithmic); it may still go back.",
        hold="10m",
    )
    # The counter begins with the ledger, so the first roll-back is a new value, not a new series.
    yield _alert(
        policy,
        "PerfoptRolledBack",
        f"max(increase({rollbacks}[15m])) > 0",
        severity="ticket",
        summary=f"{name} was taken back",
        description=f"Why: perfopt ledger show. It stays away for its cool-down; again with: perfopt retry {name} --reason …",
    )
    yield from _lease_and_approval(policy)


def _lease_and_approval(policy: OptimizationPolicy) -> Iterator[Rule]:
    name = policy.name
    renewed, lease = (metric_name(*one, GAUGE) for one in (c.METRIC_SNAPSHOT_TIME, c.METRIC_SNAPSHOT_LEASE))
    in_force = f"max({_of(c.METRIC_POLICY_EXPOSURE, name)}) > 0"
    yield _alert(
        policy,
        "PerfoptLeaseLost",
        # Of the last ten minutes, because a controller that is silent says nothing of its silence.
        f"time() - max(last_over_time({renewed}[10m])) > max(last_over_time({lease}[10m])) "
        f"and on () (max(last_over_time({_of(c.METRIC_POLICY_EXPOSURE, name)}[10m])) > 0)",
        severity="page",
        summary=f"{name} is not applied any more: the controller has been silent for longer than its lease",
        description="Agents fell back to baseline by themselves. Is perfopt loop running, and can it write its snapshot?",
    )
    yield _alert(
        policy,
        "PerfoptApprovalWaits",
        f"max({_of(c.METRIC_POLICY_WAITING, name)}) > {WAITS_TOO_LONG_S:g}",
        severity="ticket",
        summary=f"{name} has been waiting for an approval for {{{{ $value | humanizeDuration }}}}",
        description=f"perfopt status says for which gate; perfopt approve {name} or perfopt reject {name}.",
    )
    if policy.spec.mode == "active":
        active = c.STATE_CODES["active"]
        yield _alert(
            policy,
            "PerfoptActiveUntreated",
            f"max({_of(c.METRIC_POLICY_STATE, name)}) == {active} unless on () ({in_force})",
            severity="ticket",
            summary=f"{name} is active and nobody is treated",
            description="A boundary, a kill or a changed file keeps it from being published: perfopt status.",
            hold="5m",
        )


def _alert(
    policy: OptimizationPolicy,
    alert: str,
    expr: str,
    *,
    severity: str,
    summary: str,
    description: str,
    hold: str = "0s",
) -> Rule:
    labels = {"severity": severity, _POLICY: policy.name}
    if policy.metadata.owner:
        labels["owner"] = policy.metadata.owner
    return {
        "alert": alert,
        "expr": expr,
        "for": hold,
        "labels": labels,
        "annotations": {"summary": summary, "description": description},
    }


def _record(what: str, expr: str, labels: Mapping[str, str]) -> Rule:
    return {"record": f"{_PREFIX}:policy_{what}:max", "expr": expr, "labels": dict(labels)}


def _of(name: tuple[str, str], policy: str, *matchers: str, kind: str = GAUGE) -> str:
    inside = ",".join((f'{_POLICY}="{policy}"', *matchers))
    return f"{metric_name(*name, kind)}{{{inside}}}"
