"""The controller: a home folder and a clock in; each turn compares, decides, writes the ledger and publishes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from otel_perfopt.analyse.finding import Finding
from otel_perfopt.decide.condition import when_met
from otel_perfopt.decide.decision import Snapshot
from otel_perfopt.decide.learned_file import LearnedFile
from otel_perfopt.decide.learning import NOTHING_LEARNED
from otel_perfopt.decide.lifecycle import Transition
from otel_perfopt.decide.observation import NOTHING_OBSERVED, Observation
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.publish import LEASE_S, publish
from otel_perfopt.decide.state import PolicyState
from otel_perfopt.errors import PerfoptError
from otel_perfopt.loop.budget_divider import BudgetDivider
from otel_perfopt.loop.findings_watch import FindingsWatch
from otel_perfopt.loop.ledger_beacon import LedgerBeacon
from otel_perfopt.loop.live_watch import LiveAnswer, LiveWatch
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER, Observatory, Standing
from otel_perfopt.loop.proposing import propose_ranked
from otel_perfopt.loop.segment_watch import SegmentWatch
from otel_perfopt.loop.strategy_switch import StrategySwitch
from otel_perfopt.loop.trough_schedule import TroughSchedule
from otel_perfopt.loop.tuner import Tuner

# Reading may take no more than this share of the lease in one turn, so that a backlog never lets it run out.
READ_SHARE = 0.25
# What was read since the last time is read again by a controller that comes after a crash.
SAVE_EVERY_NS = 30 * 10**9
_NO_STEPS: tuple[Transition, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn saw (`runs` were complete by then) and did; `problems` are what went wrong without stopping it.

    `behind` says that telemetry is left unread: then only harm is acted upon, and the next turn reads on.
    """

    now_ns: int
    runs: int = 0
    standings: Mapping[str, Standing] = field(default_factory=dict)
    transitions: tuple[Transition, ...] = ()
    snapshot: Snapshot | None = None
    problems: tuple[str, ...] = ()
    behind: bool = False


class Controller:
    """One controller of one home folder.

    What is in force, and what was switched off, is published before anything is read. With `proposes` it writes
    a proposal for what each analysis finds, best first; `beacon` is told of the ledger's head. A turn that fails in one part goes on with the next: above all, a policy that harms is taken back
    also when something else cannot be written. With a `schedule` analyses and the beginning of roll-outs wait for a trough of
    the load.
    """

    def __init__(
        self,
        home: Path,
        clock: Callable[[], int] = time.time_ns,
        lease_s: float = LEASE_S,
        executor: Executor | None = None,
        *,
        proposes: bool = False,
        beacon: LedgerBeacon | None = None,
        schedule: TroughSchedule | None = None,
    ) -> None:
        self._clock = clock
        self._lease_s = lease_s
        self.policies = PolicySet.open(home, clock())
        self.observatory = Observatory(home, resume=True)
        self._saved_ns = clock()
        self._published_ns: int | None = None
        self.findings = FindingsWatch(home, home / TELEMETRY_FOLDER, executor=executor, schedule=schedule)
        self._schedule = schedule
        self.policies.hold_while(self._is_held)
        self.live = LiveWatch()
        self.strategies = StrategySwitch()
        self.tuner = Tuner()
        self.observatory.run_listeners += [self.live.observe, self.strategies.observe, self.tuner.observe]
        self.budgets = BudgetDivider()
        self._adapts = False
        self.observatory.run_listeners.append(self.budgets.observe)
        self.learned = NOTHING_LEARNED
        self._segments = SegmentWatch()
        self._learned_file = LearnedFile(home)
        self._proposes = proposes
        self._answered: Sequence[Finding] | None = None
        self._beacon = beacon

    def turn(self) -> Turn:
        """Read, compare, decide and publish once."""
        now_ns = self._clock()
        problems: list[str] = []
        transitions = [*_guarded(lambda: self.policies.reload(now_ns), _NO_STEPS, problems)]
        if transitions or self._is_due(now_ns):
            self._publish(problems)
        enough_ns = now_ns + int(self._lease_s * READ_SHARE * 1e9)
        runs = _guarded(lambda: self.observatory.look(now_ns, lambda: self._clock() >= enough_ns), 0, problems)
        standings = self._standings(now_ns)
        observations = self._observations(standings, now_ns, problems)
        transitions += _guarded(lambda: self.policies.advance(observations, now_ns), _NO_STEPS, problems)
        self._adapt(now_ns, problems)
        _guarded(lambda: self._stand_down(standings, now_ns), None, problems)
        snapshot = self._publish(problems)
        self._after(now_ns, problems)
        problems += [str(problem) for problem in self.policies.problems]
        problems += [told for told in (self.observatory.problem, self.observatory.people.problem) if told]
        told = tuple(dict.fromkeys(problems))
        return Turn(now_ns, runs, standings, tuple(transitions), snapshot, told, behind=self.observatory.behind)

    def _adapt(self, now_ns: int, problems: list[str]) -> None:
        """Choose among what is approved by how it does now; from a part of the telemetry nothing is chosen."""
        if not self.observatory.behind and self.policies.healthy and not self.policies.killed:
            problems += _guarded(lambda: self.strategies.turn(self.policies, now_ns), (), problems)
            statuses = self.policies.statuses(now_ns) if self._adapts else ()
            _guarded(lambda: self.tuner.turn(self.policies, statuses, now_ns), None, problems)
            _guarded(lambda: self.budgets.turn(self.policies, statuses, now_ns), None, problems)

    def _is_due(self, now_ns: int) -> bool:
        """Tell whether the snapshot cannot wait for the turn's end: at the start, and after a turn that took long."""
        return self._published_ns is None or now_ns - self._published_ns >= self._lease_s * READ_SHARE * 1e9

    def _stand_down(self, standings: Mapping[str, Standing], now_ns: int) -> None:
        """Have policies leave alone whom they make less satisfied."""
        for entry in self._segments.entries(self.policies, standings, now_ns):
            self.policies.journal.write(entry)

    def _publish(self, problems: list[str]) -> Snapshot | None:
        now_ns, people = self._clock(), self.observatory.people.table
        snapshot = _guarded(
            lambda: publish(self.policies, now_ns, self._lease_s, lambda: people(now_ns)), None, problems
        )
        self._published_ns = now_ns if snapshot is not None else self._published_ns
        return snapshot

    def _after(self, now_ns: int, problems: list[str]) -> None:
        """Learn, propose and tell, once agents have what they need; nothing of it may end a turn."""
        for part in (self._learn, self._propose, self._tell_head, self._save):
            try:
                part(now_ns, problems)
            except Exception as error:  # noqa: PERF203 - one of them failing is not the others'
                problems.append(f"{part.__name__.strip('_')} failed: {type(error).__name__}: {error}")

    def _learn(self, now_ns: int, problems: list[str]) -> None:  # noqa: ARG002 - the parts are called alike
        self.learned = self._learned_file.learned(self.policies.ledger.entries)

    def _propose(self, now_ns: int, problems: list[str]) -> None:
        findings = self.findings.latest(now_ns, problems.append) if self._proposes else None
        if findings is not None and findings is not self._answered:
            self._answered = findings
            propose_ranked(self.policies, findings, self.learned, now_ns)

    def _tell_head(self, now_ns: int, problems: list[str]) -> None:  # noqa: ARG002 - the parts are called alike
        if self._beacon is not None:
            self._beacon.tell(self.policies.ledger.head, now_ns)

    def _save(self, now_ns: int, problems: list[str]) -> None:  # noqa: ARG002 - the parts are called alike
        if now_ns - self._saved_ns >= SAVE_EVERY_NS:
            self._saved_ns = now_ns
            self.observatory.save()

    def _observations(
        self, standings: Mapping[str, Standing], now_ns: int, problems: list[str]
    ) -> dict[str, Observation]:
        """Return what the life cycle is told; conditions are looked into only where a policy has one."""
        statuses = self.policies.statuses(now_ns)
        conditional = any(status.policy.spec.when and status.policy.spec.when.finding for status in statuses)
        wanted = conditional or self._schedule is not None
        findings = self.findings.latest(now_ns, problems.append) if wanted else None
        live = self._live(statuses, now_ns)
        tunes = any(status.policy.spec.tune or status.policy.spec.budget for status in statuses)
        self._adapts = tunes or any(boundary.spec.early_calls for boundary in self.policies.boundaries)
        seen = {name: self._told(standing.observation) for name, standing in standings.items()}
        return {
            status.name: _with_condition(
                seen.get(status.name, NOTHING_OBSERVED),
                live.get(status.name) or LiveAnswer(when_met(status.policy, findings, now_ns)),
            )
            for status in statuses
        }

    def _is_held(self, policy: OptimizationPolicy, state: PolicyState, now_ns: int) -> bool:
        """Tell whether a roll-out is to begin in a trough that is still to come; a condition names its own time."""
        if self._schedule is None or policy.spec.when is not None:
            return False
        return not self._schedule.may_begin(now_ns, state.since_ns)

    def _live(self, statuses: Sequence[PolicyStatus], now_ns: int) -> Mapping[str, LiveAnswer]:
        """Return what live conditions say; of a part of the telemetry nothing."""
        answers = self.live.answers(statuses, now_ns)
        return dict.fromkeys(answers, LiveAnswer(None)) if self.observatory.behind else answers

    def _told(self, seen: Observation) -> Observation:
        """Return what the life cycle may know of what was seen: of a part of the telemetry, only that there is harm."""
        return seen if not self.observatory.behind or seen.shows_harm else Observation(since_ns=seen.since_ns)

    def _standings(self, now_ns: int) -> dict[str, Standing]:
        return {
            status.name: self.observatory.standing(status, self.policies, now_ns)
            for status in self.policies.statuses(now_ns)
            if status.state.stage
        }


def _with_condition(seen: Observation, answer: LiveAnswer) -> Observation:
    return replace(seen, when_met=answer.met, when_reason=answer.reason, when_numbers=answer.numbers)


_T = TypeVar("_T")


def _guarded(part: Callable[[], _T], otherwise: _T, problems: list[str]) -> _T:
    try:
        return part()
    except PerfoptError as error:
        problems.append(str(error))
        return otherwise
