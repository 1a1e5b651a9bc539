"""All policies of a home folder: files, ledger and what was observed in, their states and who may do what out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from otel_perfopt.analyse.finding import Finding
from otel_perfopt.decide.approval import Approval
from otel_perfopt.decide.boundary import SafetyBoundary
from otel_perfopt.decide.catalog import Catalog
from otel_perfopt.decide.durable_file import write_new
from otel_perfopt.decide.implementation_plan import UNKNOWN_SIZE, ExpectedSize
from otel_perfopt.decide.journal import PROPOSAL_EVENT, Journal
from otel_perfopt.decide.kill_switch import KillSwitch
from otel_perfopt.decide.ledger import Ledger
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.lifecycle import (
    SYSTEM,
    Transition,
)
from otel_perfopt.decide.observation import Extension, Observation
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.policy_status import PolicyStatus, alternative_of, pending_approval, status_of
from otel_perfopt.decide.progress import Progress
from otel_perfopt.decide.proposal import Proposal, materially_larger, predicted_saving, proposal_name, propose
from otel_perfopt.decide.refinement import REFINEMENT
from otel_perfopt.decide.seating import Alternative, Seating, seating
from otel_perfopt.decide.state import (
    APPROVE_EVENT,
    EVERY_POLICY,
    EXTEND_EVENT,
    KILL_EVENT,
    UNKILL_EVENT,
    PolicyState,
    State,
)
from otel_perfopt.errors import FieldProblem, InvalidFileError, LedgerError, TransitionError

LEDGER_FILE = "ledger.jsonl"
# A proposal that was refused or came to nothing answers a finding until it is surely larger; one that did
# harm answers it for good: the same under another name would get round the quarantine of its digest.
_ANSWERED_ONCE = frozenset({State.REJECTED, State.RETIRED, State.INCONCLUSIVE})
# Another value of a parameter is another thing to try, also after harm.
_TRIED = _ANSWERED_ONCE | {State.ROLLED_BACK}
_LOG = logging.getLogger(__name__)


class PolicySet:
    """The policies of one home folder and the only way to change where they stand.

    States are never stored: they are what the ledger says. Times are Unix nanoseconds and given by
    the caller. Several processes may work on one folder; each change is decided on the ledger as it
    is at that moment. Methods that write raise LedgerError when the ledger cannot be written; the
    state is then unchanged, and a policy that was to go back runs as baseline nevertheless.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.journal = Journal(home / LEDGER_FILE)
        self.switch = KillSwitch(home)
        self._catalog = Catalog(home)
        self._progress = Progress(self.journal, self._catalog, self.switch)

    @classmethod
    def open(cls, home: Path, now_ns: int) -> PolicySet:
        """Read a home folder and write down what is new in it.

        Raises:
            LedgerError: the ledger cannot be read, written or does not verify.
        """
        policies = cls(home)
        policies.reload(now_ns)
        return policies

    @classmethod
    def look(cls, home: Path) -> tuple[PolicySet, LedgerError | None]:
        """Read a home folder without writing anything, also where that cannot be done; nothing moves.

        The error says that the ledger cannot be read or does not verify: states are then as far as it could.
        """
        policies, problem = cls(home), None
        try:
            policies._catalog.remember(policies.journal.catch_up())
        except LedgerError as error:
            problem = error
        policies._catalog.reload()
        return policies, problem

    # --- what there is ---

    @property
    def problems(self) -> tuple[FieldProblem, ...]:
        """What is wrong with the files, as of the last `reload`; the last good versions are in force."""
        return self._catalog.problems

    @property
    def boundaries(self) -> tuple[SafetyBoundary, ...]:
        """The boundaries in force; all hold together."""
        return self._catalog.boundaries

    @property
    def killed(self) -> bool:
        """Whether everything is switched off, by file or by the ledger."""
        return self._progress.killed

    @property
    def healthy(self) -> bool:
        """Whether the last `reload` or `advance` could read and write the ledger."""
        return self._progress.healthy

    @property
    def ledger(self) -> Ledger:
        """The ledger, for reading."""
        return self.journal.ledger

    @property
    def names(self) -> tuple[str, ...]:
        """Every policy that is declared, or was and can still be read."""
        return self._catalog.names

    def statuses(self, now_ns: int) -> tuple[PolicyStatus, ...]:
        """Return every policy that is or was declared, by name."""
        return tuple(self.status(name, now_ns) for name in self._catalog.names)

    def status(self, name: str, now_ns: int) -> PolicyStatus:
        """Return one policy.

        Raises:
            TransitionError: nobody ever declared it.
        """
        status = self._alone(name, now_ns)
        group = status.policy.spec.strategy
        if group is None:
            return status
        return replace(status, seat=self.seating(group.group, now_ns).seats.get(name))

    def groups(self) -> tuple[str, ...]:
        """Return the groups of alternatives that policies name."""
        named = (loaded.policy.spec.strategy for loaded in self._catalog.known.values())
        return tuple(sorted({one.group for one in named if one is not None}))

    def alternatives(self, group: str, now_ns: int) -> tuple[Alternative, ...]:
        """Return the exposed policies of a group, by name."""
        members = (
            loaded.name
            for loaded in self._catalog.known.values()
            if loaded.policy.spec.strategy is not None and loaded.policy.spec.strategy.group == group
        )
        found = (alternative_of(self._alone(name, now_ns)) for name in sorted(members))
        return tuple(one for one in found if one is not None)

    def seating(self, group: str, now_ns: int) -> Seating:
        """Return how the exposed policies of a group share the units."""
        return seating(self.alternatives(group, now_ns), self.journal.adaptations.strategy(group))

    def note(self, entry: LedgerEntry) -> None:
        """Write down what was adapted; it changes no policy's state.

        Raises:
            LedgerError: it could not be written, so it does not hold.
        """
        self.journal.write(entry)

    def _alone(self, name: str, now_ns: int) -> PolicyStatus:
        return status_of(
            self._catalog.loaded(name), self.journal, self._catalog, now_ns, withheld=name in self._progress.withheld
        )

    # --- what happens by itself ---

    def reload(self, now_ns: int) -> tuple[Transition, ...]:
        """Read files and ledger again and take the steps that follow without any observation."""
        self._progress.healthy = False
        self._catalog.remember(self.journal.catch_up())
        self._catalog.reload()
        return self.advance({}, now_ns)

    def advance(self, observations: Mapping[str, Observation], now_ns: int) -> tuple[Transition, ...]:
        """Take every step that what was observed, approved and declared leads to, and return them in order.

        An observation speaks of the stage a policy is in now; after a step it is not used again.

        Raises:
            LedgerError: a step could not be written; every other policy was still looked at.
        """
        return self._progress.advance(observations, now_ns)

    def hold_while(self, holds: Callable[[OptimizationPolicy, PolicyState, int], bool]) -> None:
        """Begin no roll-out while `holds` says so of a policy, its state and the time; what is exposed goes on."""
        self._progress.holds = holds

    def propose(
        self,
        findings: Iterable[Finding],
        now_ns: int,
        *,
        rollout: Mapping[str, Any] | None = None,
        guardrails: Sequence[Mapping[str, Any]] | None = None,
        size_of: Callable[[OptimizationPolicy], ExpectedSize] = lambda _policy: UNKNOWN_SIZE,
    ) -> tuple[Proposal, ...]:
        """Write a policy file for every finding that an optimization is known for and no policy answers.

        A file is never overwritten, and what was proposed once is proposed again, under another name, only
        if the prediction is surely larger than it was then: removing or rejecting a proposal is an answer.
        `size_of` tells how long a policy's trial would take.

        Raises:
            LedgerError: a proposal was written, but not that it was ours; its author is then who owns the file.
        """
        written = []
        for finding in findings:
            proposal = self._proposal(finding, now_ns, rollout, guardrails, size_of)
            if proposal is not None and write_new(self.home / proposal.file, proposal.text):
                self.journal.write(_told(proposal, now_ns))
                written.append(proposal)
                self.reload(now_ns)
        return tuple(written)

    def drafts(
        self,
        findings: Iterable[Finding],
        now_ns: int,
        *,
        rollout: Mapping[str, Any] | None = None,
        guardrails: Sequence[Mapping[str, Any]] | None = None,
    ) -> tuple[Proposal, ...]:
        """Return what `propose` would write for each finding by itself, without writing anything."""
        made = (
            self._proposal(finding, now_ns, rollout, guardrails, lambda _policy: UNKNOWN_SIZE) for finding in findings
        )
        return tuple(proposal for proposal in made if proposal is not None)

    # --- what people say ---

    def approve(self, name: str, actor: str, reason: str, now_ns: int, gate: str | None = None) -> Approval:
        """Say yes to a policy's pending gate, as it is declared now.

        Raises:
            TransitionError: nothing waits for approval, or not for this person's.
        """

        def decide() -> tuple[Approval, LedgerEntry]:
            status = self.status(name, now_ns)
            approval = pending_approval(status, gate, actor, self._catalog, now_ns)
            details = {"gate": approval.gate, "expires_ns": str(approval.expires_ns)}
            entry = LedgerEntry(
                now_ns, actor, APPROVE_EVENT, name, digest=status.digest, reason=reason, details=details
            )
            return approval, entry

        return self.journal.decided(decide)

    def reject(self, name: str, actor: str, reason: str, now_ns: int) -> Transition:
        """Say no to a policy that is not active yet."""
        return self._progress.request(name, "reject", actor, reason, now_ns)

    def rollback(self, name: str, actor: str, reason: str, now_ns: int) -> Transition:
        """Take a policy back; needs nobody's approval."""
        return self._progress.request(name, "rollback", actor, reason, now_ns)

    def retire(self, name: str, actor: str, reason: str, now_ns: int) -> Transition:
        """End a policy for good; its file may stay."""
        return self._progress.request(name, "retire", actor, reason, now_ns)

    def retry(self, name: str, actor: str, reason: str, now_ns: int) -> Transition:
        """Propose a policy again that was taken back, rejected, retired or inconclusive; needs a reason."""
        return self._progress.request(name, "retry", actor, reason, now_ns)

    def extend(self, name: str, actor: str, reason: str, now_ns: int, extension: Extension) -> Transition:
        """Let a comparison that ended without a verdict go on; its exposure needs approval again.

        Raises:
            TransitionError: it is not inconclusive, was edited since, or the limits would still be reached.
        """
        return self._progress.request(name, EXTEND_EVENT, actor, reason, now_ns, extension=extension)

    def kill(self, name: str | None, actor: str, reason: str, now_ns: int) -> tuple[Transition, ...]:
        """Switch one policy off, or everything (None); the switch works even if it cannot be written down.

        Raises:
            TransitionError: there is no such policy, or the switch itself cannot be made.
            LedgerError: it is off, but that could not be written down.
        """
        if name is not None:
            self._catalog.loaded(name)
        try:
            self.switch.switch_off(name)
        except OSError as error:
            raise TransitionError(f"cannot make the kill file: {error}; set PERFOPT_KILL=1 for the agents") from error
        if name is not None:
            self.journal.catch_up()
            is_killed = self.journal.state(name).state is State.KILLED
            return () if is_killed else (self._progress.request(name, KILL_EVENT, actor, reason, now_ns),)
        self.journal.write(LedgerEntry(now_ns, actor, KILL_EVENT, EVERY_POLICY, reason=reason))
        return self.advance({}, now_ns)

    def unkill(self, name: str | None, actor: str, reason: str, now_ns: int) -> tuple[Transition, ...]:
        """Let one policy, or everything (None), come back; each starts again as proposed.

        Raises:
            TransitionError: it is not switched off, only everything together can be switched on, or a kill file stays.
        """
        if name is not None:
            self._catalog.loaded(name)
            self._switch_on(name)
            return (self._progress.request(name, UNKILL_EVENT, actor, reason, now_ns),)
        if not self.killed:
            raise TransitionError("nothing is switched off as a whole")
        self._switch_on(None)
        self.journal.write(LedgerEntry(now_ns, actor, UNKILL_EVENT, EVERY_POLICY, reason=reason))
        asleep = [state.policy for state in self.journal.states.values() if state.killed_by_all]
        return tuple(self._progress.request(policy, UNKILL_EVENT, actor, reason, now_ns) for policy in sorted(asleep))

    # --- how ---

    def _switch_on(self, name: str | None) -> None:
        """Remove a kill file, before the ledger says so: a controller that saw it afterwards would kill again."""
        try:
            self.switch.switch_on(name)
        except OSError as error:
            raise TransitionError(f"cannot remove the kill file: {error}; it stays switched off") from error

    def _proposal(
        self,
        finding: Finding,
        now_ns: int,
        rollout: Mapping[str, Any] | None,
        guardrails: Sequence[Mapping[str, Any]] | None,
        size_of: Callable[[OptimizationPolicy], ExpectedSize],
    ) -> Proposal | None:
        if finding.suggestion is None:
            return None
        name, over = proposal_name(finding), frozenset[State]()
        if name in self.journal.predicted:
            if not materially_larger(self.journal.predicted[name], predicted_saving(finding)):
                return None
            over = _ANSWERED_ONCE
        elif finding.kind == REFINEMENT:
            over = _TRIED
        existing = [
            loaded.policy
            for loaded in self._catalog.policies.values()
            if self.journal.state(loaded.name).state not in over
        ]

        def proposed(size: ExpectedSize) -> Proposal | None:
            return propose(
                finding,
                now_ns,
                existing,
                taken=(*self._catalog.names, *self.journal.proposed),
                rollout=rollout,
                guardrails=guardrails,
                size=size,
            )

        try:
            draft = proposed(UNKNOWN_SIZE)
            size = size_of(draft.policy) if draft is not None else UNKNOWN_SIZE
            return draft if size is UNKNOWN_SIZE else proposed(size)
        except InvalidFileError as error:
            # As ASCII: names come from telemetry and may hold what no log can encode.
            _LOG.warning("%a makes no valid policy: %a", finding.label, str(error))
            return None


def _told(proposal: Proposal, now_ns: int) -> LedgerEntry:
    finding, predicted = proposal.finding, proposal.predicted
    told: dict[str, Any] = {"file": proposal.file, "finding": finding.label, "summary": finding.summary}
    told["proposal_of"] = proposal_name(finding)
    if predicted is not None:
        told["predicted"] = [predicted.estimate, predicted.low, predicted.high]
    return LedgerEntry(now_ns, SYSTEM, PROPOSAL_EVENT, proposal.name, proposal.digest, details=told)
