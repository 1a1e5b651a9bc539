"""One policy as people and the loop see it: its document and the ledger in, state, gate and limits out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.approval import Approval, give_approval
from otel_perfopt.decide.boundary import violations
from otel_perfopt.decide.catalog import Catalog
from otel_perfopt.decide.journal import Journal
from otel_perfopt.decide.lifecycle import SYSTEM, gates_ahead, pending_gate, possible_requests
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.policy_file import LoadedPolicy
from otel_perfopt.decide.seating import Alternative
from otel_perfopt.decide.state import PolicyState, State
from otel_perfopt.decide.tuned import Tuned
from otel_perfopt.errors import TransitionError


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """One policy as people and the loop see it.

    `loaded` is the version in force; `state` where it stands; `pending_gate` what waits for an
    approval; `violations` what boundaries forbid in it; `can` what a person may ask for now;
    `withheld` says that it runs as baseline because going back could not be written down; `seat` is its share
    beside its alternatives, None where it has none; `dropped` are the values (indices) that tuning has ended with;
    `shares` what commands have of each budget of early calls.
    """

    loaded: LoadedPolicy
    state: PolicyState
    pending_gate: str | None
    violations: tuple[str, ...]
    authors: tuple[str, ...]
    can: tuple[str, ...]
    withheld: bool = False
    seat: Allocation | None = None
    dropped: frozenset[int] = frozenset()
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The policy's name."""
        return self.loaded.name

    @property
    def policy(self) -> OptimizationPolicy:
        """The policy in force."""
        return self.loaded.policy

    @property
    def digest(self) -> str:
        """Digest of the policy in force."""
        return self.loaded.digest

    @property
    def is_in_force(self) -> bool:
        """Whether it is in shadow, canary or active, as declared now, and neither forbidden nor withheld."""
        is_declared = self.state.digest == self.digest
        return bool(self.state.stage) and is_declared and not self.violations and not self.withheld


def declared_allocation(status: PolicyStatus) -> Allocation:
    """Return the shares of each arm that a policy declares for the stage it is in; nobody outside canary and active."""
    rollout, state = status.policy.spec.rollout, status.state
    if state.state is State.CANARY:
        steps = rollout.canary_steps
        return steps[min(state.step, len(steps)) - 1].allocation
    return rollout.active_allocation if state.state is State.ACTIVE else Allocation()


def alternative_of(status: PolicyStatus) -> Alternative | None:
    """Return an exposed policy as one of the alternatives of its group; None where it is none."""
    spec = status.policy.spec
    if spec.strategy is None or not status.is_in_force or not status.state.is_exposed:
        return None
    return Alternative(
        name=status.name,
        allocation=declared_allocation(status),
        is_active=status.state.state is State.ACTIVE,
        settings=spec.strategy,
        metric=spec.goal.metric,
        unit=spec.rollout.unit,
    )


def status_of(
    loaded: LoadedPolicy, journal: Journal, catalog: Catalog, now_ns: int, *, withheld: bool = False
) -> PolicyStatus:
    """Return where a policy stands."""
    state = journal.state(loaded.name)
    return PolicyStatus(
        loaded=loaded,
        state=state,
        pending_gate=pending_gate(loaded.policy, state, now_ns),
        violations=violations(loaded.policy, catalog.boundaries),
        authors=authors_of(loaded, journal, catalog.home),
        can=possible_requests(state),
        withheld=withheld,
        dropped=journal.adaptations.tuning(loaded.name, loaded.digest).dropped,
        shares=journal.adaptations.budgets,
    )


def tuned_of(status: PolicyStatus) -> Tuned | None:
    """Return the values that a policy tries and those that are left; None where it tunes nothing."""
    spec = status.policy.spec
    if spec.tune is None:
        return None
    values = spec.tuned_values()
    left = tuple(index for index in range(len(values)) if index not in status.dropped)
    return Tuned(spec.tune.tunable(spec.optimize.type).field, values, left or tuple(range(len(values))))


def pending_approval(status: PolicyStatus, gate: str | None, actor: str, catalog: Catalog, now_ns: int) -> Approval:
    """Return a person's yes to a gate, or to the one that is pending.

    Raises:
        TransitionError: nothing waits for it, the policy was just edited, or this person may not.
    """
    name, state = status.name, status.state
    wanted = gate or status.pending_gate
    if wanted is None:
        why = f" ({'; '.join(status.violations)})" if status.violations else ""
        raise TransitionError(f"{name} is {state.state}: nothing waits for approval{why}")
    if state.digest != catalog.digest(name):
        raise TransitionError(f"{name} was edited or removed a moment ago; look at it again")
    if wanted not in gates_ahead(status.policy, state):
        raise TransitionError(f"{name} is {state.state}: its gate {wanted} cannot be approved now")
    return give_approval(
        status.policy, state.digest, wanted, actor, authors=status.authors, now_ns=now_ns, groups=catalog.groups
    )


def authors_of(loaded: LoadedPolicy, journal: Journal, home: Path) -> tuple[str, ...]:
    """Return who wrote a policy: us while a proposal is as we wrote it, else who says so or owns the file."""
    if loaded.digest in journal.proposed.get(loaded.name, ()):
        return (SYSTEM,)
    metadata = loaded.policy.metadata
    author = metadata.author or _file_owner(home / loaded.file)
    return tuple(dict.fromkeys(name for name in (author, metadata.owner) if name))


def _file_owner(file: Path) -> str:
    try:
        return file.owner()
    except (OSError, KeyError, NotImplementedError):
        return ""
