"""The life cycle as one table: a policy, its state and plain inputs in, the next `Transition` (or none) out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from otel_perfopt.decide import guard
from otel_perfopt.decide.guard import Situation
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.observation import NO_EXTENSION, Extension, Inputs
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.state import (
    EXPOSED,
    EXTEND_EVENT,
    KILL_EVENT,
    RESUME_EVENT,
    RETRY_EVENT,
    SLEEP_EVENT,
    UNKILL_EVENT,
    WAKE_EVENT,
    PolicyState,
    State,
)
from otel_perfopt.errors import TransitionError

SYSTEM = "perfopt"
PERSON = "person"

_ALL = frozenset(State)
_LIVING = _ALL - {State.NEW, State.KILLED}
_UNDER_WAY = frozenset({State.PROPOSED, State.AWAITING, State.SHADOW, State.CANARY, State.ACTIVE})
_OVER = frozenset({State.ROLLED_BACK, State.INCONCLUSIVE, State.REJECTED, State.RETIRED})
# What a condition decides; the numbers of a live one are written down with it.
_OF_CONDITION = frozenset({SLEEP_EVENT, WAKE_EVENT, RESUME_EVENT})
# Where a comparison comes to a result, which is written down with it.
_ENDS = frozenset({State.ACTIVE, State.ROLLED_BACK, State.INCONCLUSIVE, State.RETIRED})


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: from which states to which, on what event, by whom, and the guard that lets it pass.

    `adopts` says that the state is from then on about the policy as it is declared now.
    """

    event: str
    sources: frozenset[State]
    target: State
    who: str
    guard: Callable[[Situation], str | None]
    adopts: bool = False


# The first row that fits is taken: what protects comes before what exposes.
TABLE: tuple[Rule, ...] = (
    # What is over stays over: killed with the rest it would come back as proposed.
    Rule(KILL_EVENT, _ALL - _OVER - {State.KILLED}, State.KILLED, SYSTEM, guard.switched_off),
    Rule("rollback", EXPOSED, State.ROLLED_BACK, SYSTEM, guard.harm_shown),
    Rule("rollback", EXPOSED, State.ROLLED_BACK, SYSTEM, guard.faults_seen),
    Rule("rollback", frozenset({State.SHADOW}), State.ROLLED_BACK, SYSTEM, guard.shadow_not_clean),
    Rule("rollback", frozenset({State.SHADOW}), State.ROLLED_BACK, SYSTEM, guard.context_lost),
    Rule("remove", _LIVING, State.RETIRED, SYSTEM, guard.file_gone, adopts=True),
    Rule("void", _LIVING, State.PROPOSED, SYSTEM, guard.digest_changed, adopts=True),
    Rule("rollback", EXPOSED, State.ROLLED_BACK, SYSTEM, guard.boundary_forbids),
    Rule("stop", frozenset({State.AWAITING, State.SHADOW}), State.PROPOSED, SYSTEM, guard.boundary_forbids),
    Rule(SLEEP_EVENT, _UNDER_WAY, State.DORMANT, SYSTEM, guard.condition_gone),
    Rule("retire", frozenset({State.ACTIVE}), State.RETIRED, SYSTEM, guard.expired),
    Rule("retire", frozenset({State.ACTIVE}), State.RETIRED, SYSTEM, guard.benefit_lost),
    Rule("promote", frozenset({State.CANARY}), State.ACTIVE, SYSTEM, guard.promotable),
    Rule("advance", frozenset({State.CANARY}), State.CANARY, SYSTEM, guard.step_done),
    Rule("end", frozenset({State.CANARY}), State.INCONCLUSIVE, SYSTEM, guard.limit_reached),
    Rule("expose", frozenset({State.SHADOW}), State.CANARY, SYSTEM, guard.shadow_passed),
    Rule("resume", frozenset({State.AWAITING}), State.CANARY, SYSTEM, guard.trial_goes_on),
    Rule("expose", frozenset({State.AWAITING}), State.CANARY, SYSTEM, guard.canary_at_once),
    Rule("watch", frozenset({State.AWAITING}), State.SHADOW, SYSTEM, guard.shadow_may_start),
    Rule("ask", frozenset({State.PROPOSED}), State.AWAITING, SYSTEM, guard.checks_pass),
    # What slept for a live measure goes on where it stood, within the approvals that still stand.
    Rule(RESUME_EVENT, frozenset({State.DORMANT}), State.ACTIVE, SYSTEM, guard.wakes_active),
    Rule(RESUME_EVENT, frozenset({State.DORMANT}), State.CANARY, SYSTEM, guard.wakes_in_canary),
    Rule(RESUME_EVENT, frozenset({State.DORMANT}), State.SHADOW, SYSTEM, guard.wakes_in_shadow),
    Rule(WAKE_EVENT, frozenset({State.DORMANT}), State.PROPOSED, SYSTEM, guard.condition_met),
    Rule("declare", frozenset({State.NEW}), State.DORMANT, SYSTEM, guard.declared_with_condition, adopts=True),
    Rule("declare", frozenset({State.NEW}), State.PROPOSED, SYSTEM, guard.declared, adopts=True),
    Rule("reject", _UNDER_WAY - {State.ACTIVE}, State.REJECTED, PERSON, guard.always),
    Rule("rollback", EXPOSED | {State.SHADOW}, State.ROLLED_BACK, PERSON, guard.always),
    Rule("retire", _ALL - {State.NEW, State.KILLED, State.RETIRED}, State.RETIRED, PERSON, guard.always),
    Rule(KILL_EVENT, _ALL - {State.KILLED}, State.KILLED, PERSON, guard.always),
    Rule(UNKILL_EVENT, frozenset({State.KILLED}), State.PROPOSED, PERSON, guard.may_return),
    Rule(RETRY_EVENT, _OVER | {State.PROPOSED}, State.PROPOSED, PERSON, guard.may_retry, adopts=True),
    # Back to where approval is asked: an extension exposes nobody by itself.
    Rule(EXTEND_EVENT, frozenset({State.INCONCLUSIVE}), State.AWAITING, PERSON, guard.may_extend),
)


@dataclass(frozen=True, slots=True)
class Transition:
    """One step in a policy's life: what it becomes, by whom, why, and the digest it is about from then on."""

    policy: str
    event: str
    from_state: State
    to_state: State
    digest: str
    actor: str
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exposes(self) -> bool:
        """Whether units are treated after it."""
        return self.to_state in EXPOSED

    def entry(self, now_ns: int) -> LedgerEntry:
        """Return the ledger entry that makes it so."""
        return LedgerEntry(
            time_ns=now_ns,
            actor=self.actor,
            event=self.event,
            policy=self.policy,
            digest=self.digest,
            from_state=str(self.from_state),
            to_state=str(self.to_state),
            reason=self.reason,
            details=self.details,
        )


def next_transition(policy: OptimizationPolicy, state: PolicyState, inputs: Inputs) -> Transition | None:
    """Return what happens now by itself, or None when the policy stays where it is.

    `policy` is the one in force: as declared, or as last declared when `inputs.digest` is empty.
    """
    at = Situation(policy, state, inputs)
    for rule in TABLE:
        if rule.who == SYSTEM and state.state in rule.sources:
            reason = rule.guard(at)
            if reason is not None:
                return _transition(rule, at, SYSTEM, reason)
    return None


def requested_transition(
    policy: OptimizationPolicy,
    state: PolicyState,
    inputs: Inputs,
    *,
    event: str,
    actor: str,
    reason: str = "",
    extension: Extension = NO_EXTENSION,
) -> Transition:
    """Return what a person's `reject`, `rollback`, `retire`, `kill`, `unkill`, `retry` or `extend` leads to.

    Raises:
        TransitionError: it is not possible from this state, or not yet.
    """
    at = Situation(policy, state, inputs, reason, extension)
    for rule in TABLE:
        if rule.who == PERSON and rule.event == event and state.state in rule.sources:
            return _transition(rule, at, actor, rule.guard(at) or "")
    possible = possible_requests(state)
    raise TransitionError(
        f"{state.policy} is {state.state}, so it cannot {event}; it can: {', '.join(possible) or 'nothing'}"
    )


def possible_requests(state: PolicyState) -> tuple[str, ...]:
    """Return what a person may ask for in a state, apart from approving."""
    return tuple(rule.event for rule in TABLE if rule.who == PERSON and state.state in rule.sources)


def pending_gate(policy: OptimizationPolicy, state: PolicyState, now_ns: int) -> str | None:
    """Return the gate that waits for somebody's approval, or None."""
    spec = policy.spec
    gates = gates_ahead(policy, state)
    if gates[:1] == ("shadow",) and (spec.rollout.shadow_s is None or state.trial is not None):
        gates = ("canary",)
    for gate in gates:
        if spec.mode in _MODES_REACHING[gate] and gate in spec.approval.gates and not state.approved(gate, now_ns):
            return gate
    return None


def gates_ahead(policy: OptimizationPolicy, state: PolicyState) -> tuple[str, ...]:
    """Return the gates that can be approved now.

    Those of what sleeps for a live measure are the ones it needs when it wakes: a bottleneck lasts minutes, and
    its remedy must be approved before it comes.
    """
    when = policy.spec.when
    if state.state is not State.DORMANT or when is None or when.live is None:
        return GATES_AHEAD.get(state.state, ())
    return _GATES_ASLEEP[state.rest.state if state.rest is not None else State.AWAITING]


GATES_AHEAD: Mapping[State, tuple[str, ...]] = {
    State.AWAITING: ("shadow", "canary"),
    State.SHADOW: ("canary",),
    State.CANARY: ("active",),
}
_GATES_ASLEEP: Mapping[State, tuple[str, ...]] = {
    State.AWAITING: ("shadow", "canary"),
    State.SHADOW: ("canary",),
    State.CANARY: ("canary", "active"),
    State.ACTIVE: ("active",),
}
_MODES_REACHING: Mapping[str, frozenset[str]] = {
    "shadow": frozenset({"shadow", "canary", "active"}),
    "canary": frozenset({"canary", "active"}),
    "active": frozenset({"active"}),
}


def _transition(rule: Rule, at: Situation, actor: str, reason: str) -> Transition:
    digest = at.inputs.digest if rule.adopts else at.state.digest
    return Transition(
        policy=at.state.policy,
        event=rule.event,
        from_state=at.state.state,
        to_state=rule.target,
        digest=digest,
        actor=actor,
        reason=reason,
        details=_details(rule, at),
    )


def _details(rule: Rule, at: Situation) -> Mapping[str, Any]:
    live = {"live": dict(at.seen.when_numbers)} if at.seen.when_numbers and rule.event in _OF_CONDITION else {}
    return {**_own_details(rule, at), **live}


def _own_details(rule: Rule, at: Situation) -> Mapping[str, Any]:
    when = at.policy.spec.when
    if rule.event in {RESUME_EVENT, SLEEP_EVENT}:
        rests = rule.event == SLEEP_EVENT and when is not None and when.live is not None
        return {"rests": True} if rests else {"step": at.state.rest.step} if at.state.rest is not None else {}
    if rule.target is State.CANARY:
        trial = at.state.trial if at.state.state is State.AWAITING else None
        return {"step": trial.step if trial is not None else at.state.step + 1}
    if rule.event == EXTEND_EVENT:
        return {"more_units": at.extension.units, "more_s": at.extension.duration_s}
    if rule.target is State.KILLED:
        return {"all": at.inputs.killed}
    if rule.target in _ENDS and at.state.state in EXPOSED | {State.SHADOW}:
        return _result(rule, at)
    return {}


def _result(rule: Rule, at: Situation) -> Mapping[str, Any]:
    """Return what a comparison came to, for who learns from it."""
    measured = {"outcome": dict(at.seen.outcome)} if at.seen.outcome else {}
    if rule.target is State.ROLLED_BACK:
        # What a boundary stopped did no harm: it may return as soon as the boundary lets it.
        harmless = rule.guard is guard.boundary_forbids
        cooldown_s = 0.0 if harmless else at.policy.spec.rollback.cooldown_s
        why = {"by": "boundary"} if harmless else {}
        return {"until_ns": str(at.inputs.now_ns + int(cooldown_s * 1e9)), **why, **measured}
    if rule.guard is guard.benefit_lost:
        return {"by": "hold-back", **measured}
    return {"units": at.seen.total_units, **measured} if rule.target is State.INCONCLUSIVE else measured
