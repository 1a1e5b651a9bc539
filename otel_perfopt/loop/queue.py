"""What is next: the policies that are not in force yet and what was learned in, a queue by expected value out."""

from __future__ import annotations

from dataclasses import dataclass

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.decide.learning import Learned
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.state import State
from otel_perfopt.loop.proposing import candidate_of_loaded

# Not in force, and on their way there.
QUEUED = frozenset({State.NEW, State.DORMANT, State.PROPOSED, State.AWAITING, State.SHADOW})
_DAYS, _UNITS = "perfopt.dev/expected-days", "perfopt.dev/expected-units"


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One policy that waits: its rank, the share of `metric` it should save (as predicted and learned), and what it needs.

    `expected_units` and `expected_days` until a verdict are the proposal's own; None where nobody said
    (`perfopt plan` does). `needs` is what a person has to do next, empty where nothing.
    """

    policy: str
    optimization: str
    state: str
    metric: str
    score: float
    saved: Interval | None
    probability: float
    risk: str
    expected_units: int | None
    expected_days: float | None
    needs: str
    reasons: tuple[str, ...]


def optimization_queue(policies: PolicySet, learned: Learned, now_ns: int) -> tuple[QueueItem, ...]:
    """Return what waits, best first: expected share saved × probability of success ÷ risk."""
    waiting = (status for status in policies.statuses(now_ns) if status.state.state in QUEUED)
    items = [_item(status, learned) for status in waiting]
    return tuple(sorted(items, key=lambda item: (-item.score, item.policy)))


def _item(status: PolicyStatus, learned: Learned) -> QueueItem:
    candidate = candidate_of_loaded(status.loaded)
    rank = learned.rank(candidate)
    notes = status.policy.metadata.annotations
    units = _number(notes.get(_UNITS))
    return QueueItem(
        policy=status.name,
        optimization=candidate.optimization,
        state=str(status.state.state),
        metric=candidate.metric,
        score=0.0 if status.violations else rank.score,
        saved=rank.saved,
        probability=rank.probability,
        risk=rank.risk,
        expected_units=int(units) if units is not None else None,
        expected_days=_number(notes.get(_DAYS)),
        needs=_needs(status),
        reasons=(*(f"forbidden: {problem}" for problem in status.violations), *rank.reasons),
    )


def _needs(status: PolicyStatus) -> str:
    if status.violations:
        return "a change: a boundary forbids it"
    if status.pending_gate:
        return f"approval ({status.pending_gate})"
    when = status.policy.spec.when
    if status.state.state is State.DORMANT and when is not None:
        return f"the finding {when.finding}" if when.live is None else str(when)
    quarantined = status.state.digest in status.state.quarantine
    return "perfopt retry, with a reason" if quarantined else ""


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e12 else None
