"""How policies move: what was observed or asked in, transitions chosen on the ledger as it is and written down out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from otel_perfopt.decide.boundary import violations
from otel_perfopt.decide.catalog import Catalog
from otel_perfopt.decide.journal import BOUNDARY_EVENT, Journal
from otel_perfopt.decide.kill_switch import KillSwitch
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.lifecycle import SYSTEM, Transition, next_transition, requested_transition
from otel_perfopt.decide.observation import NO_EXTENSION, NOTHING_OBSERVED, Extension, Inputs, Observation
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.policy_status import authors_of
from otel_perfopt.decide.state import EVERY_POLICY, EXPOSED, KILL_EVENT, PolicyState
from otel_perfopt.errors import LedgerError

_KILL_FILE_ACTOR = "kill file"
_MOST_STEPS = 10


class Progress:
    """Takes steps and writes them down.

    `withheld` holds steps back to baseline that could not be written: those policies run as baseline
    until they are. `healthy` says whether the last turn could read and write the ledger.
    """

    def __init__(self, journal: Journal, catalog: Catalog, switch: KillSwitch) -> None:
        self._journal = journal
        self._catalog = catalog
        self._switch = switch
        self.withheld: dict[str, Transition] = {}
        self.healthy = True
        # Whether a policy's roll-out is not to begin now; asked whenever a step is looked for.
        self.holds: Callable[[OptimizationPolicy, PolicyState, int], bool] = lambda _policy, _state, _now_ns: False

    @property
    def killed(self) -> bool:
        """Whether everything is switched off, by file or by the ledger."""
        return self._journal.killed or self._switch.everything

    def advance(self, observations: Mapping[str, Observation], now_ns: int) -> tuple[Transition, ...]:
        """Take every step that is due; see `PolicySet.advance`."""
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

    def _advance_one(self, name: str, seen: Observation, now_ns: int, taken: list[Transition]) -> None:
        for _ in range(_MOST_STEPS):
            step = self._step(name, seen, now_ns)
            if step is None:
                return
            taken.append(step)
            seen = seen.of_condition()

    def _step(self, name: str, seen: Observation, now_ns: int) -> Transition | None:
        def choose(state: PolicyState) -> Transition | None:
            held = self.withheld.get(name)
            if held is not None and (held.from_state, held.digest) == (state.state, state.digest):
                return held
            # Another process may have moved it since: what was seen before says nothing about that stage.
            of_this = seen.since_ns in {None, state.since_ns}
            told = seen if of_this else seen.of_condition()
            policy = self._catalog.loaded(name).policy
            told = replace(told, held=True) if self.holds(policy, state, now_ns) else told
            return next_transition(policy, state, self._inputs(name, told, now_ns))

        return self._recorded(name, choose, now_ns)

    def request(
        self, name: str, event: str, actor: str, reason: str, now_ns: int, *, extension: Extension = NO_EXTENSION
    ) -> Transition:
        """Take the step a person asks for.

        Raises:
            TransitionError: it is not possible now.
            LedgerError: it could not be written down; a step back to baseline is kept in `withheld`.
        """

        def choose(state: PolicyState) -> Transition:
            policy, inputs = self._catalog.loaded(name).policy, self._inputs(name, NOTHING_OBSERVED, now_ns)
            return requested_transition(
                policy, state, inputs, event=event, actor=actor, reason=reason, extension=extension
            )

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
            step = choose(self._journal.state(name))
            return step, None if step is None else self._entry(step, now_ns)

        try:
            done = self._journal.decided(decide)
        except LedgerError:
            if step is not None and step.from_state in EXPOSED and not step.exposes:
                self.withheld[name] = step
            raise
        self.withheld.pop(name, None)
        return done

    def _entry(self, step: Transition, now_ns: int) -> LedgerEntry:
        """Return a step's entry; where the state comes to be about a new digest, the document goes with it."""
        loaded = self._catalog.loaded(step.policy)
        if step.digest != loaded.digest or self._journal.state(step.policy).digest == loaded.digest:
            return step.entry(now_ns)
        told = {
            "document": loaded.raw,
            "file": loaded.file,
            "authors": list(authors_of(loaded, self._journal, self._catalog.home)),
        }
        return replace(step, details={**step.details, **told}).entry(now_ns)

    def _note_surroundings(self, now_ns: int) -> None:
        """Write down what changed around the policies: boundaries, and a kill file somebody made by hand."""
        digest = self._catalog.boundary_digest

        def decide_boundary() -> tuple[None, LedgerEntry | None]:
            if digest in {"", self._journal.boundary_digest}:
                return None, None
            details = {"documents": self._catalog.boundary_documents}
            return None, LedgerEntry(now_ns, SYSTEM, BOUNDARY_EVENT, EVERY_POLICY, digest=digest, details=details)

        def decide_kill() -> tuple[None, LedgerEntry | None]:
            if self._journal.killed or not self._switch.everything:
                return None, None
            return None, LedgerEntry(
                now_ns, _KILL_FILE_ACTOR, KILL_EVENT, EVERY_POLICY, reason="the kill file is there"
            )

        self._journal.decided(decide_boundary)
        self._journal.decided(decide_kill)

    def _inputs(self, name: str, seen: Observation, now_ns: int) -> Inputs:
        return Inputs(
            now_ns=now_ns,
            digest=self._catalog.digest(name),
            observation=seen,
            violations=violations(self._catalog.loaded(name).policy, self._catalog.boundaries),
            killed=self.killed,
            killed_alone=self._switch.policy(name),
        )
