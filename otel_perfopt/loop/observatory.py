"""What the agents of a home folder did and how each policy compares: telemetry files in, verdicts out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from otel_perfopt import conventions as c
from otel_perfopt.decide.decision import Decision
from otel_perfopt.decide.guard import limits_of
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.observation import Observation, ShadowReport
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.publish import decisions_in_force
from otel_perfopt.decide.state import EXPOSED, PolicyState, State
from otel_perfopt.errors import InvalidFileError
from otel_perfopt.execution.builder import executions_of
from otel_perfopt.execution.model import Execution
from otel_perfopt.execution.run_facts import evaluations_of, stated
from otel_perfopt.loop.checkpoint import Checkpoint
from otel_perfopt.loop.holdback import Period, benefit_lost, period_of
from otel_perfopt.loop.outcome import outcome_of
from otel_perfopt.loop.people import People
from otel_perfopt.loop.plan import comparison_plan
from otel_perfopt.loop.shadow_watch import SHADOW, ShadowWatch
from otel_perfopt.measure.home_prices import prices_of
from otel_perfopt.measure.price import PriceTable, priced
from otel_perfopt.signal.read.otlp_tail import OtlpTail
from otel_perfopt.signal.source import ReadTally
from otel_perfopt.verify.before_after import BeforeAfter
from otel_perfopt.verify.comparison import Comparison
from otel_perfopt.verify.hourly_history import HourlyHistory
from otel_perfopt.verify.running_comparison import RunningComparison
from otel_perfopt.verify.units import UnitTable
from otel_perfopt.verify.verdict import Conclusion, Unit, Verdict

TELEMETRY_FOLDER = "telemetry"


@dataclass(frozen=True, slots=True)
class Standing:
    """One policy's comparison now: its verdict and units since it was exposed, and what the life cycle is told.

    `before_after` describes the goal over all runs of the policy's commands since it was exposed; it decides nothing.
    """

    verdict: Verdict | None
    units: tuple[Unit, ...]
    observation: Observation
    before_after: BeforeAfter | None = None


@dataclass(slots=True)
class _Compared:
    """One policy's comparison as of a revision; of the hold-back alone, and of its present period, once it is active."""

    trial: tuple[Decision, int, int]
    whole: RunningComparison
    since_promoted: RunningComparison | None
    revision: int = -1
    units: tuple[Unit, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    period: tuple[Period, RunningComparison] | None = None


class Observatory:
    """Follows the telemetry of a home folder; nothing here changes where a policy stands.

    With `resume` it goes on where the last `save` stood; listeners are told of the runs after that only.
    `problem` says what is wrong with the folder's prices: until they can be read, nothing has a price.
    """

    def __init__(self, home: Path, prices: PriceTable | None = None, *, resume: bool = False) -> None:
        self._tail = OtlpTail(home / TELEMETRY_FOLDER)
        self._units = UnitTable()
        self._shadow = ShadowWatch()
        self._history = HourlyHistory()
        self._compared: dict[str, _Compared] = {}
        self._home = home
        self._prices = prices or PriceTable({}, "")
        self.problem = ""
        self.people = People(home, may_write=resume)
        self._wants_prices = prices is None
        self._read_prices()
        # Told of each finished run; they must not raise.
        self.run_listeners: list[Callable[[Execution], None]] = []
        self._checkpoint = Checkpoint(home)
        if resume:
            self._go_on(home)

    def save(self) -> bool:
        """Write down what is known and how far was read, so that a later one goes on there; tell whether it worked."""
        state = {"tail": self._tail.state(), "units": self._units.state(), "shadow": self._shadow.state()}
        state["people"] = self.people.state()
        return self._checkpoint.save(state, self._tail.files)

    def _go_on(self, home: Path) -> None:
        state = self._checkpoint.load()
        if state is None:
            return
        try:
            self._tail.go_on(state["tail"])
            self._units.go_on(state["units"])
            self._shadow.go_on(state["shadow"])
            self.people.go_on(state.get("people", {}))
        except Exception:
            # Not what we wrote, however it passed: nothing of it is kept.
            self._checkpoint.faults += 1
            self._tail, self._units, self._shadow = OtlpTail(home / TELEMETRY_FOLDER), UnitTable(), ShadowWatch()
            self.people = People(home, may_write=True)

    @property
    def tally(self) -> ReadTally:
        """What was read, and what could not be."""
        return self._tail.tally

    @property
    def behind(self) -> bool:
        """Whether the last look left something unread."""
        return self._tail.behind

    def look(self, now_ns: int, enough: Callable[[], bool] = lambda: False) -> int:
        """Read what is new, or a part of it when `enough` says so; return how many runs are complete since the last look."""
        runs = 0
        self._read_prices()
        for batch in self._tail.read(now_ns, enough):
            for execution in executions_of(batch):
                if not execution.finished:
                    continue
                run = priced(execution, self._prices)
                self._units.observe(run)
                self._history.observe(run)
                self._shadow.observe(run)
                self.people.observe(run)
                for listen in self.run_listeners:
                    listen(run)
                runs += 1
        for span in self._tail.take_judgements():
            conversation = stated([span], c.GEN_AI_CONVERSATION_ID) or span.trace_id
            self._units.judge(conversation, evaluations_of([span]))
            self.people.judge(span.trace_id, evaluations_of([span]))
        return runs

    def _read_prices(self) -> None:
        """Read the folder's prices, again and again while they cannot be read: no cost is better than a wrong one."""
        if not self._wants_prices:
            return
        try:
            self._prices, self.problem, self._wants_prices = prices_of(self._home), "", False
        except (InvalidFileError, OSError, ValueError) as error:
            self.problem = f"{error}; until then nothing has a cost"

    def standing(self, status: PolicyStatus, policies: PolicySet, now_ns: int) -> Standing:
        """Return how one policy compares in its present run of exposure."""
        state = status.state
        decisions = decisions_in_force((status,), policies.boundaries)
        shadow = self._shadow_report(state, policies) if state.stage == SHADOW else None
        if not decisions or not state.is_exposed:
            return Standing(None, (), Observation(shadow=shadow, since_ns=state.since_ns))
        # A digest that is tried again starts anew: earlier units belong to the earlier trial.
        compared = self._compared_of(decisions[0], status, policies)
        verdict, *since = (comparison.verdict(now_ns) for comparison in compared.comparisons)
        if verdict.conclusion is not Conclusion.WORSE and since and since[0].conclusion is Conclusion.WORSE:
            verdict = since[0]
        lost = None if verdict.conclusion is Conclusion.WORSE else self._lost(compared, status, now_ns)
        told = _observation(verdict, compared.units, status, lost, now_ns)
        return Standing(verdict, compared.units, told, self._before_after(status))

    def _shadow_report(self, state: PolicyState, policies: PolicySet) -> ShadowReport | None:
        since_ns = shadow_since_ns(state, policies.ledger.entries)
        return self._shadow.report(state.policy, state.digest, since_ns)

    def _before_after(self, status: PolicyStatus) -> BeforeAfter | None:
        spec = status.policy.spec
        return self._history.before_after(spec.match.command, spec.goal.metric, status.state.exposed_ns)

    def _compared_of(self, decision: Decision, status: PolicyStatus, policies: PolicySet) -> _Compared:
        """Return the comparison of one policy, with what changed since the last time taken in."""
        state = status.state
        since_ns = trial_since_ns(state, policies.ledger.entries)
        trial = (decision, state.since_ns, since_ns)
        known = self._compared.get(status.name)
        if known is None or known.trial != trial:
            plan, unit = comparison_plan(status.policy, state), status.policy.spec.rollout.unit
            # What the canary showed says nothing against a change since, and would outweigh it for ever: promotion
            # starts a second test on the hold-back alone, with an error of at most alpha of its own.
            promoted = state.state is State.ACTIVE
            since = RunningComparison(decision, plan, since_ns, unit, state.stage) if promoted else None
            known = _Compared(trial, RunningComparison(decision, plan, since_ns, unit), since)
            self._compared[status.name] = known
        revision = self._units.revision(status.name, state.digest)
        if known.revision != revision:
            running = (known.whole, known.since_promoted)
            known.comparisons = tuple(one.follow(self._units) for one in running if one is not None)
            known.units, known.revision = known.whole.units, revision
        return known

    def _lost(self, compared: _Compared, status: PolicyStatus, now_ns: int) -> str | None:
        """Return why a promoted policy's benefit counts as lost, None while it does not."""
        if compared.since_promoted is None:
            return None
        state, plan = status.state, comparison_plan(status.policy, status.state)
        period = period_of(plan, state.since_ns, now_ns)
        if compared.period is None or compared.period[0] != period:
            decision, _, since_ns = compared.trial
            begun_ns, unit = max(since_ns, period.start_ns), status.policy.spec.rollout.unit
            compared.period = period, RunningComparison(decision, period.plan, begun_ns, unit, state.stage)
        return benefit_lost(compared.period[1].follow(self._units), plan, now_ns)


def trial_since_ns(state: PolicyState, entries: Sequence[LedgerEntry]) -> int:
    """Return from when on units belong to the present trial: from any time on, unless its digest was exposed before.

    A digest that is tried again starts anew. Of one that never was exposed every unit is of this trial,
    also from an agent whose clock is behind ours and whose runs seem to begin before their exposure.
    """
    exposed = {str(one) for one in EXPOSED}
    return state.exposed_ns if _was_in(exposed, state, state.exposed_ns, entries) else 0


def shadow_since_ns(state: PolicyState, entries: Sequence[LedgerEntry]) -> int:
    """Return from when on runs in shadow belong to the present shadow: from any time on, unless there was one before."""
    return state.since_ns if _was_in({str(State.SHADOW)}, state, state.since_ns, entries) else 0


def _was_in(states: Collection[str], state: PolicyState, before_ns: int, entries: Sequence[LedgerEntry]) -> bool:
    return any(
        entry.policy == state.policy
        and entry.digest == state.digest
        and entry.to_state in states
        and entry.time_ns < before_ns
        for entry in entries
    )


def _observation(
    verdict: Verdict, units: Sequence[Unit], status: PolicyStatus, lost: str | None, now_ns: int
) -> Observation:
    state = status.state
    most_units, longest_s = limits_of(status.policy, state)
    at_limit = len(units) >= most_units or now_ns - state.exposed_ns >= longest_s * 1e9
    ends = lost is not None or at_limit or verdict.conclusion is not Conclusion.WAITING
    return Observation(
        conclusion=str(verdict.conclusion),
        reason=verdict.reason if lost is None else lost,
        stage_units=sum(unit.stage == state.stage for unit in units),
        total_units=len(units),
        mismatch=any(metric.role == "sample_ratio" and metric.harmed for metric in verdict.metrics),
        lost_benefit=lost is not None,
        since_ns=state.since_ns,
        outcome=outcome_of(verdict, units) if ends else {},
    )
