"""What agents are to do: the policies where they stand in, an atomically replaced snapshot file out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.boundary import SafetyBoundary, capped
from otel_perfopt.decide.decision import Decision, Match, Snapshot
from otel_perfopt.decide.digest import salt_of
from otel_perfopt.decide.durable_file import write_atomically
from otel_perfopt.decide.early_budget import EarlyBudget
from otel_perfopt.decide.early_share import EarlyShare
from otel_perfopt.decide.personalization import NOTHING_PERSONAL, Personalization
from otel_perfopt.decide.policy import EARLY_TYPES, OptimizationPolicy
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.policy_status import PolicyStatus, declared_allocation, tuned_of
from otel_perfopt.decide.seating import group_salt
from otel_perfopt.decide.segment_stand_down import is_personal, without_stood_down
from otel_perfopt.errors import PublishError

SNAPSHOT_FILE = "snapshot.json"
LEASE_S = 60.0
FINDING_ANNOTATION = "perfopt.dev/finding"


def publish(
    policies: PolicySet,
    now_ns: int,
    lease_s: float = LEASE_S,
    people: Callable[[], Personalization] = lambda: NOTHING_PERSONAL,
) -> Snapshot:
    """Write `<home>/snapshot.json` as the policies stand and return it.

    The generation is the number of ledger entries it follows from, so it never goes back. While
    the ledger cannot be written the lease is not renewed: agents fall back to baseline by themselves.

    Raises:
        PublishError: the file cannot be written; the one before stays as it was.
    """
    path = policies.home / SNAPSHOT_FILE
    snapshot = snapshot_of(policies, now_ns, lease_s, people)
    if not policies.healthy:
        snapshot = _not_renewed(snapshot, path)
    try:
        write_atomically(path, snapshot.to_json().encode())
    except OSError as error:
        raise PublishError(f"cannot write {path}: {error}") from error
    return snapshot


def snapshot_of(
    policies: PolicySet,
    now_ns: int,
    lease_s: float = LEASE_S,
    people: Callable[[], Personalization] = lambda: NOTHING_PERSONAL,
) -> Snapshot:
    """Return what agents are to do now, without writing it; `people` is asked only where a decision depends on them."""
    decisions = decisions_in_force(policies.statuses(now_ns), policies.boundaries)
    decisions = without_stood_down(decisions, policies.ledger.entries)
    return Snapshot(
        generation=policies.ledger.head.sequence,
        generated_at_ns=now_ns,
        lease_s=lease_s,
        killed=policies.killed,
        decisions=decisions,
        personalization=people() if any(is_personal(decision) for decision in decisions) else NOTHING_PERSONAL,
    )


def decisions_in_force(statuses: Iterable[PolicyStatus], boundaries: Sequence[SafetyBoundary]) -> tuple[Decision, ...]:
    """Return the decisions of policies in shadow, canary or active, each within every boundary.

    A policy whose file says something else than its state is about, that a boundary forbids, or that
    is withheld, is left out.
    """
    return tuple(_decision(status, boundaries) for status in statuses if status.is_in_force)


def stage_allocation(status: PolicyStatus, boundaries: Sequence[SafetyBoundary]) -> Allocation:
    """Return the shares of each arm at a policy's stage: nobody in shadow, all but the hold-back when active.

    A policy with alternatives has its seat beside them, which is never more than that.
    """
    return capped(status.seat if status.seat is not None else declared_allocation(status), boundaries)


def _decision(status: PolicyStatus, boundaries: Sequence[SafetyBoundary]) -> Decision:
    spec = status.policy.spec
    return Decision(
        policy=status.name,
        digest=status.digest,
        optimization=spec.optimize.type,
        stage=status.state.stage,
        allocation=stage_allocation(status, boundaries),
        parameters=spec.optimize.parameters.published(),
        match=Match(
            command=spec.match.command,
            tool=spec.match.tool,
            model=spec.match.model,
            preference=spec.match.preference,
            user=spec.match.user,
        ),
        exclude=_exclude(status, boundaries),
        effects=dict(spec.effects),
        unit=spec.rollout.unit,
        salt=salt_of(status.digest) if spec.strategy is None else group_salt(spec.strategy.group),
        finding=status.policy.metadata.annotations.get(FINDING_ANNOTATION, ""),
        tuned=tuned_of(status),
        budgets=tuple(
            EarlyShare(name, float(one.per_minute), one.floor, dict(status.shares.get(name, {})))
            for name, one in budgets_of(status.policy, boundaries).items()
        ),
    )


def budgets_of(policy: OptimizationPolicy, boundaries: Sequence[SafetyBoundary]) -> dict[str, EarlyBudget]:
    """Return the budgets that a policy's early calls are taken from, by name: its own, and every boundary's."""
    if policy.spec.optimize.type not in EARLY_TYPES:
        return {}
    found = {f"boundary {one.metadata.name}": one.spec.early_calls for one in boundaries}
    return {name: one for name, one in ({policy.name: policy.spec.budget} | found).items() if one is not None}


def _exclude(status: PolicyStatus, boundaries: Sequence[SafetyBoundary]) -> Match:
    """Return what the policy and every boundary leave out; what is denied is denied call by call."""
    own = status.policy.spec.exclude
    limits = [boundary.spec for boundary in boundaries]
    return Match(
        command=(*own.command, *(name for limit in limits for name in limit.commands.deny)),
        tool=(*own.tool, *(name for limit in limits for name in limit.tools.deny)),
        model=(*own.model, *(name for limit in limits for name in limit.models.deny)),
        tool_effects=own.tool_effects,
        preference=own.preference,
        user=own.user,
    )


def _not_renewed(snapshot: Snapshot, path: Path) -> Snapshot:
    """Return the snapshot with the time of the one before, or an expired one when that cannot be read."""
    try:
        renewed_ns = Snapshot.from_json(path.read_text(encoding="utf-8")).generated_at_ns
    except (OSError, ValueError):
        renewed_ns = 0
    return replace(snapshot, generated_at_ns=renewed_ns)
