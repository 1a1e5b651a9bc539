"""Where a policy stands: ledger entries in, each policy's state, step and standing approvals out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from otel_perfopt.decide.approval import Approval
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.errors import LedgerError

EVERY_POLICY = "*"


class State(str, Enum):
    """The states of a policy's life; `new` is one the ledger has not heard of."""

    NEW = "new"
    DORMANT = "dormant"
    PROPOSED = "proposed"
    AWAITING = "awaiting approval"
    SHADOW = "shadow"
    CANARY = "canary"
    ACTIVE = "active"
    ROLLED_BACK = "rolled back"
    INCONCLUSIVE = "inconclusive"
    REJECTED = "rejected"
    RETIRED = "retired"
    KILLED = "killed"

    __str__ = str.__str__


EXPOSED = frozenset({State.CANARY, State.ACTIVE})
# Who comes here has been judged: what was approved before is approved no longer.
_JUDGED = frozenset({State.ROLLED_BACK, State.INCONCLUSIVE, State.REJECTED, State.RETIRED})

APPROVE_EVENT = "approve"
KILL_EVENT = "kill"
UNKILL_EVENT = "unkill"
RETRY_EVENT = "retry"
EXTEND_EVENT = "extend"
SLEEP_EVENT = "sleep"
WAKE_EVENT = "wake"
RESUME_EVENT = "wake up"


@dataclass(frozen=True, slots=True)
class PausedTrial:
    """A comparison that ended without a verdict and may go on where it stopped.

    `step` is the canary step it goes on at, `exposed_ns` when it first exposed units, `ended_ns` when it
    stopped, `units` how many had been compared by then. `more_units` and `more_s` are what people added to
    the policy's limits, and the time it stood still.
    """

    step: int
    exposed_ns: int
    ended_ns: int = 0
    units: int = 0
    more_units: int = 0
    more_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rest:
    """Where a policy that sleeps for a live measure wakes up, and its clocks, which stood still meanwhile.

    `awake_s` is how long its stage had lasted, `slept_s` how long it had slept before since it was first exposed.
    """

    state: State
    step: int
    exposed_ns: int
    awake_s: float = 0.0
    slept_s: float = 0.0
    trial: PausedTrial | None = None


@dataclass(frozen=True, slots=True)
class PolicyState:
    """Where one policy stands, as the ledger tells it.

    `step` counts canary steps from 1 (0 outside canary); `since_ns` is when this state or step
    began, `exposed_ns` when units were first exposed in this run of it (0: they are not).
    `quarantine` holds digests that were taken back and until when they stay away.
    `killed_by_all` says that a kill of everything, not of this policy alone, put it there. `trial` is the
    comparison that ended without a verdict, kept for as long as it may still go on or does. `rest` is where a
    policy that sleeps for a live measure wakes up; `awake_s` how long this stage had lasted before it last slept,
    and `slept_s` how long it has slept since it was first exposed.
    """

    policy: str
    state: State = State.NEW
    digest: str = ""
    step: int = 0
    since_ns: int = 0
    exposed_ns: int = 0
    actor: str = ""
    reason: str = ""
    approvals: tuple[Approval, ...] = ()
    quarantine: Mapping[str, int] = field(default_factory=dict)
    killed_by_all: bool = False
    trial: PausedTrial | None = None
    rest: Rest | None = None
    awake_s: float = 0.0
    slept_s: float = 0.0

    @property
    def is_exposed(self) -> bool:
        """Whether some units are treated."""
        return self.state in EXPOSED

    @property
    def stage(self) -> str:
        """The stage as decisions and spans carry it: `shadow`, `canary-N`, `active`, or nothing."""
        if self.state is State.CANARY:
            return f"canary-{self.step}"
        return str(self.state) if self.state in {State.SHADOW, State.ACTIVE} else ""

    def approved(self, gate: str, now_ns: int) -> bool:
        """Tell whether a standing approval covers the present digest and a gate."""
        return any(approval.holds(self.digest, gate, now_ns) for approval in self.approvals)


def replay_states(entries: Iterable[LedgerEntry]) -> dict[str, PolicyState]:
    """Return each policy's state from the whole ledger.

    Raises:
        LedgerError: an entry starts from another state than the entries before it lead to.
    """
    states: dict[str, PolicyState] = {}
    for entry in entries:
        if entry.policy != EVERY_POLICY:
            before = states.get(entry.policy, PolicyState(entry.policy))
            states[entry.policy] = after_entry(before, entry)
    return states


def after_entry(state: PolicyState, entry: LedgerEntry) -> PolicyState:
    """Return a policy's state after one more entry about it.

    Raises:
        LedgerError: the entry does not start from the present state, or lacks what its event needs.
    """
    try:
        if entry.event == APPROVE_EVENT:
            return replace(state, approvals=(*state.approvals, _approval(entry)))
        return _after_transition(state, entry) if entry.to_state else state
    except (KeyError, TypeError, ValueError) as error:
        raise LedgerError(f"ledger entry {entry.sequence} ({entry.event} {entry.policy}): {error}") from error


def _approval(entry: LedgerEntry) -> Approval:
    expires_ns = int(entry.details["expires_ns"])
    return Approval(entry.policy, entry.digest, str(entry.details["gate"]), entry.actor, entry.time_ns, expires_ns)


def _after_transition(state: PolicyState, entry: LedgerEntry) -> PolicyState:
    if State(entry.from_state) is not state.state:
        raise ValueError(f"starts from {entry.from_state!r}, but the policy was {str(state.state)!r}")
    target = State(entry.to_state)
    if entry.event == RESUME_EVENT and state.rest is not None:
        return _woken(state, state.rest, target, entry)
    is_exposed = target in EXPOSED
    trial = _trial(state, target, entry)
    resumes = is_exposed and state.state is State.AWAITING and trial is not None
    began_ns = trial.exposed_ns if resumes and trial is not None else state.exposed_ns or entry.time_ns
    return PolicyState(
        policy=state.policy,
        state=target,
        digest=entry.digest,
        step=int(entry.details.get("step", 0)),
        since_ns=entry.time_ns,
        exposed_ns=began_ns if is_exposed else 0,
        actor=entry.actor,
        reason=entry.reason,
        approvals=_standing(state, target, entry.digest),
        quarantine=_quarantine(state, target, entry),
        killed_by_all=target is State.KILLED and bool(entry.details.get("all")),
        trial=trial,
        rest=_rest(state, target, entry),
        # From step to step of one canary, and into active, it goes on being the same exposure.
        slept_s=state.slept_s if is_exposed and state.is_exposed else 0.0,
    )


def _rest(state: PolicyState, target: State, entry: LedgerEntry) -> Rest | None:
    """Return where to wake up, for what is put to sleep by a live measure in the middle of its roll-out."""
    if target is not State.DORMANT or not entry.details.get("rests") or not state.stage:
        return None
    awake_s = state.awake_s + (entry.time_ns - state.since_ns) / 1e9
    return Rest(state.state, state.step, state.exposed_ns, awake_s, state.slept_s, state.trial)


def _woken(state: PolicyState, rest: Rest, target: State, entry: LedgerEntry) -> PolicyState:
    asleep_s = (entry.time_ns - state.since_ns) / 1e9
    is_exposed = target in EXPOSED
    return PolicyState(
        policy=state.policy,
        state=target,
        digest=entry.digest,
        step=rest.step,
        since_ns=entry.time_ns,
        exposed_ns=rest.exposed_ns if is_exposed else 0,
        actor=entry.actor,
        reason=entry.reason,
        approvals=_standing(state, target, entry.digest),
        quarantine=_quarantine(state, target, entry),
        trial=rest.trial,
        awake_s=rest.awake_s,
        slept_s=rest.slept_s + asleep_s if is_exposed else 0.0,
    )


def _trial(state: PolicyState, target: State, entry: LedgerEntry) -> PausedTrial | None:
    """Return what is known of a comparison that was stopped: by its limit, by a person who extends it, or going on."""
    kept = state.trial
    if target is State.INCONCLUSIVE:
        kept = kept or PausedTrial(state.step, state.exposed_ns)
        return replace(kept, step=state.step, ended_ns=entry.time_ns, units=int(entry.details.get("units", 0)))
    if kept is None or entry.digest != state.digest:
        return None
    if entry.event == EXTEND_EVENT:
        more_units, more_s = int(entry.details["more_units"]), float(entry.details["more_s"])
        return replace(kept, more_units=kept.more_units + more_units, more_s=kept.more_s + more_s)
    if target is State.CANARY and state.state is State.AWAITING:
        return replace(kept, more_s=kept.more_s + (entry.time_ns - kept.ended_ns) / 1e9)
    return kept if target is State.CANARY else None


def _standing(state: PolicyState, target: State, digest: str) -> tuple[Approval, ...]:
    if target in _JUDGED:
        return ()
    return tuple(approval for approval in state.approvals if approval.digest == digest)


def _quarantine(state: PolicyState, target: State, entry: LedgerEntry) -> Mapping[str, int]:
    kept = dict(state.quarantine)
    if target is State.ROLLED_BACK:
        kept[state.digest] = int(entry.details.get("until_ns", entry.time_ns))
    if entry.event == RETRY_EVENT:
        kept.pop(entry.digest, None)
    return kept
