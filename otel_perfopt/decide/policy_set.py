"""All policies of a home folder: files, ledger and what was observed in, their states and who may do what out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from otel_perfopt.decide.approval import Approval
from otel_perfopt.decide.boundary import SafetyBoundary, violations
from otel_perfopt.decide.catalog import Catalog
from otel_perfopt.decide.journal import BOUNDARY_EVENT, Journal
from otel_perfopt.decide.kill_switch import KillSwitch
from otel_perfopt.decide.ledger import Ledger
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.lifecycle import (
    SYSTEM,
    Transition,
    next_transition,
    requested_transition,
)
from otel_perfopt.decide.observation import NOTHING_OBSERVED, Inputs, Observation
from otel_perfopt.decide.policy_file import LoadedPolicy
from otel_perfopt.decide.policy_status import PolicyStatus, authors_of, pending_approval, status_of
from otel_perfopt.decide.state import (
    APPROVE_EVENT,
    EVERY_POLICY,
    EXPOSED,
    KILL_EVENT,
    UNKILL_EVENT,
    PolicyState,
    State,
)
from otel_perfopt.errors import FieldProblem, LedgerError, TransitionError

LEDGER_FILE = "ledger.jsonl"
_KILL_FILE_ACTOR = "kill file"
_MOST_STEPS = 10


class PolicySet:
    """The policies of one home folder and the only way to change where they stand.

    States are never stored: they are what the ledger says. Times are Unix nanoseconds and given by
    the caller. `healthy` says that the last `reload` or `advance` could read and write the ledger. Several processes may work on one folder; each change is decided on the ledger as it
    is at that moment. Methods that write raise LedgerError when the ledger cannot be written; the
    state is then unchanged, and a policy that was to go back runs as baseline nevertheless.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.journal = Journal(home / LEDGER_FILE)
        self.switch = KillSwitch(home)
        self._catalog = Catalog(home)
        self._withheld: dict[str, Transition] = {}
        self.healthy = True

    @classmethod
    def open(cls, home: Path, now_ns: int) -> PolicySet:
        """Read a home folder and write down what is new in it.

        Raises:
            LedgerError: the ledger cannot be read, written or does not verify.
        """
        policies = cls(home)
        policies.reload(now_ns)
        return policies

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
        return self.journal.killed or self.switch.everything

    @property
    def ledger(self) -> Ledger:
        """The ledger, for reading."""
        return self.journal.ledger

    def statuses(self, now_ns: int) -> tuple[PolicyStatus, ...]:
        """Return every policy that is or was declared, by name."""
        return tuple(self.status(name, now_ns) for name in self._catalog.names)

    def status(self, name: str, now_ns: int) -> PolicyStatus:
        """Return one policy.

        Raises:
            TransitionError: nobody ever declared it.
        """
        return status_of(self._loaded(name), self.journal, self._catalog, now_ns, withheld=name in self._withheld)

    # --- what happens by itself ---

    def reload(self, now_ns: int) -> tuple[Transition, ...]:
        """Read files and ledger again and take the steps that follow without any observation."""
        self.healthy = False
        self._catalog.remember(self.journal.catch_up())
        self._catalog.reload()
        return self.advance({}, now_ns)

    def advance(self, observations: Mapping[str, Observation], now_ns: int) -> tuple[Transition, ...]:
        """Take every step that what was observed, approved and declared leads to, and return them in order.

        An observation speaks of the stage a policy is in now; after a step it is not used again.

        Raises:
            LedgerError: a step could not be written; every other policy was still looked at.
        """
        taken: list[Transition] = []
        failures: list[LedgerError] = []
        try:
            self._note_surroundings(now_ns)
        except LedgerError as error:
            failures.append(error)
        for name in self._catalog.names:
            try:
                self._advance_one(name, observations.get(name, NOTHING_OBSERVED), now_ns, taken)
            except LedgerError as error:  # noqa: PERF203 - one policy's failure is not another's
                failures.append(error)
        self.healthy = not failures
        if failures:
            raise failures[0]
        return tuple(taken)

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
        return self._request(name, "reject", actor, reason, now_ns)

    def rollback(self, name: str, actor: str, reason: str, now_ns: int) -> Transition:
        """Take a policy back; needs nobody's approval."""
        return self._request(name, "rollback", actor, reason, now_ns)

    def retire(self, name: str, actor: str, reason: str, now_ns: int) -> Transition:
        """End a policy for good; its file may stay."""
        return self._request(name, "retire", actor, reason, now_ns)

    def retry(self, name: str, actor: str, reason: str, now_ns: int) -> Transition:
        """Propose a policy again that was taken back, rejected, retired or inconclusive; needs a reason."""
        return self._request(name, "retry", actor, reason, now_ns)

    def kill(self, name: str | None, actor: str, reason: str, now_ns: int) -> tuple[Transition, ...]:
        """Switch one policy off, or everything (None); the switch works even if it cannot be written down.

        Raises:
            TransitionError: there is no such policy, or the switch itself cannot be made.
            LedgerError: it is off, but that could not be written down.
        """
        if name is not None:
            self._loaded(name)
        try:
            self.switch.switch_off(name)
        except OSError as error:
            raise TransitionError(f"cannot make the kill file: {error}; set PERFOPT_KILL=1 for the agents") from error
        if name is not None:
            self.journal.catch_up()
            is_killed = self.journal.state(name).state is State.KILLED
            return () if is_killed else (self._request(name, KILL_EVENT, actor, reason, now_ns),)
        self.journal.write(LedgerEntry(now_ns, actor, KILL_EVENT, EVERY_POLICY, reason=reason))
        return self.advance({}, now_ns)

    def unkill(self, name: str | None, actor: str, reason: str, now_ns: int) -> tuple[Transition, ...]:
        """Let one policy, or everything (None), come back; each starts again as proposed.

        Raises:
            TransitionError: it is not switched off, or only everything together can be switched on.
        """
        if name is not None:
            done = (self._request(name, UNKILL_EVENT, actor, reason, now_ns),)
            self.switch.switch_on(name)
            return done
        if not self.killed:
            raise TransitionError("nothing is switched off as a whole")
        self.journal.write(LedgerEntry(now_ns, actor, UNKILL_EVENT, EVERY_POLICY, reason=reason))
        self.switch.switch_on(None)
        asleep = [state.policy for state in self.journal.states.values() if state.killed_by_all]
        return tuple(self._request(policy, UNKILL_EVENT, actor, reason, now_ns) for policy in sorted(asleep))

    # --- how ---

    def _loaded(self, name: str) -> LoadedPolicy:
        if name not in self._catalog.known:
            known = ", ".join(self._catalog.names) or "none"
            raise TransitionError(f"there is no policy {name!r}; there are: {known}")
        return self._catalog.known[name]

    def _inputs(self, name: str, seen: Observation, now_ns: int) -> Inputs:
        return Inputs(
            now_ns=now_ns,
            digest=self._catalog.digest(name),
            observation=seen,
            violations=violations(self._loaded(name).policy, self.boundaries),
            killed=self.killed,
            killed_alone=self.switch.policy(name),
        )

    def _advance_one(self, name: str, seen: Observation, now_ns: int, taken: list[Transition]) -> None:
        for _ in range(_MOST_STEPS):
            step = self._step(name, seen, now_ns)
            if step is None:
                return
            taken.append(step)
            seen = Observation(when_met=seen.when_met)

    def _step(self, name: str, seen: Observation, now_ns: int) -> Transition | None:
        def choose(state: PolicyState) -> Transition | None:
            held = self._withheld.get(name)
            if held is not None and (held.from_state, held.digest) == (state.state, state.digest):
                return held
            return next_transition(self._loaded(name).policy, state, self._inputs(name, seen, now_ns))

        return self._recorded(name, choose, now_ns)

    def _request(self, name: str, event: str, actor: str, reason: str, now_ns: int) -> Transition:
        def choose(state: PolicyState) -> Transition:
            policy, inputs = self._loaded(name).policy, self._inputs(name, NOTHING_OBSERVED, now_ns)
            return requested_transition(policy, state, inputs, event=event, actor=actor, reason=reason)

        step = self._recorded(name, choose, now_ns)
        assert step is not None
        return step

    def _recorded(
        self, name: str, choose: Callable[[PolicyState], Transition | None], now_ns: int
    ) -> Transition | None:
        """Choose a step on the ledger as it is, write it down, and hold back what could not be written."""
        step: Transition | None = None

        def decide() -> tuple[Transition | None, LedgerEntry | None]:
            nonlocal step
            step = choose(self.journal.state(name))
            return step, None if step is None else self._entry(step, now_ns)

        try:
            done = self.journal.decided(decide)
        except LedgerError:
            if step is not None and step.from_state in EXPOSED and not step.exposes:
                self._withheld[name] = step
            raise
        self._withheld.pop(name, None)
        return done

    def _entry(self, step: Transition, now_ns: int) -> LedgerEntry:
        """Return a step's entry; where the state comes to be about a new digest, the document goes with it."""
        loaded = self._loaded(step.policy)
        if step.digest != loaded.digest or self.journal.state(step.policy).digest == loaded.digest:
            return step.entry(now_ns)
        told = {
            "document": loaded.raw,
            "file": loaded.file,
            "authors": list(authors_of(loaded, self.journal, self.home)),
        }
        return replace(step, details={**step.details, **told}).entry(now_ns)

    def _note_surroundings(self, now_ns: int) -> None:
        """Write down what changed around the policies: boundaries, and a kill file somebody made by hand."""
        digest = self._catalog.boundary_digest

        def decide_boundary() -> tuple[None, LedgerEntry | None]:
            if digest in {"", self.journal.boundary_digest}:
                return None, None
            details = {"documents": self._catalog.boundary_documents}
            return None, LedgerEntry(now_ns, SYSTEM, BOUNDARY_EVENT, EVERY_POLICY, digest=digest, details=details)

        def decide_kill() -> tuple[None, LedgerEntry | None]:
            if self.journal.killed or not self.switch.everything:
                return None, None
            return None, LedgerEntry(
                now_ns, _KILL_FILE_ACTOR, KILL_EVENT, EVERY_POLICY, reason="the kill file is there"
            )

        self.journal.decided(decide_boundary)
        self.journal.decided(decide_kill)
