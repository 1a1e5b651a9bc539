"""What a policy waits for, as pages say it: its status and verdict in, what a person has to do and what is known out."""

from __future__ import annotations

from dataclasses import dataclass

from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.state import State
from otel_perfopt.verify.verdict import Verdict


@dataclass(frozen=True, slots=True)
class NextStep:
    """`needs` is what it waits for, empty where for nobody; `said` is the reason of its verdict or of its state."""

    needs: str
    said: str


def next_step(status: PolicyStatus, verdict: Verdict | None) -> NextStep:
    """Return what a policy waits for and what is known of it, without the command line's words for it."""
    said = verdict.reason if verdict is not None else status.state.reason
    if status.withheld:
        return NextStep("a ledger that can be written", "It is taken back: the ledger cannot be written.")
    if status.violations:
        return NextStep("a change: a boundary forbids it", "; ".join(status.violations))
    if status.pending_gate:
        return NextStep(f"approval: {status.pending_gate}", said)
    if status.state.state is State.INCONCLUSIVE:
        return NextStep("a decision: extend, retry or retire", said)
    when = status.policy.spec.when
    if status.state.state is State.DORMANT and when is not None:
        return NextStep(f"the finding {when.finding}", said)
    return NextStep("", said)
