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
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.publish import LEASE_S, publish
from otel_perfopt.errors import PerfoptError
from otel_perfopt.loop.findings_watch import FindingsWatch
from otel_perfopt.loop.ledger_beacon import LedgerBeacon
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER, Observatory, Standing
from otel_perfopt.loop.proposing import propose_ranked

# What was read since the last time is read again by a controller that comes after a crash.
SAVE_EVERY_NS = 30 * 10**9


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn saw (`runs` were complete by then) and did; `problems` are what went wrong without stopping it."""

    now_ns: int
    runs: int = 0
    standings: Mapping[str, Standing] = field(default_factory=dict)
    transitions: tuple[Transition, ...] = ()
    snapshot: Snapshot | None = None
    problems: tuple[str, ...] = ()


class Controller:
    """One controller of one home folder.

    With `proposes` it writes a proposal for what each analysis finds, best first; `beacon` is told of the
    ledger's head. A turn that fails in one part goes on with the next: above all, a policy that harms is taken back
    also when something else cannot be written.
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
    ) -> None:
        self._clock = clock
        self._lease_s = lease_s
        self.policies = PolicySet.open(home, clock())
        self.observatory = Observatory(home, resume=True)
        self._saved_ns = clock()
        self.findings = FindingsWatch(home, home / TELEMETRY_FOLDER, executor=executor)
        self.learned = NOTHING_LEARNED
        self._learned_file = LearnedFile(home)
        self._proposes = proposes
        self._answered: Sequence[Finding] | None = None
        self._beacon = beacon

    def turn(self) -> Turn:
        """Read, compare, decide and publish once."""
        now_ns = self._clock()
        problems: list[str] = []
        transitions: list[Transition] = []
        runs = _guarded(lambda: self.observatory.look(now_ns), 0, problems)
        transitions += _guarded(lambda: self.policies.reload(now_ns), (), problems)
        standings = self._standings(now_ns)
        observations = self._observations(standings, now_ns, problems)
        transitions += _guarded(lambda: self.policies.advance(observations, now_ns), (), problems)
        snapshot = _guarded(lambda: publish(self.policies, now_ns, self._lease_s), None, problems)
        self._after(now_ns, problems)
        problems += [str(problem) for problem in self.policies.problems]
        return Turn(now_ns, runs, standings, tuple(transitions), snapshot, tuple(problems))

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
        conditional = any(status.policy.spec.when for status in statuses)
        findings = self.findings.latest(now_ns, problems.append) if conditional else None
        return {
            status.name: replace(
                standings[status.name].observation if status.name in standings else NOTHING_OBSERVED,
                when_met=when_met(status.policy, findings, now_ns),
            )
            for status in statuses
        }

    def _standings(self, now_ns: int) -> dict[str, Standing]:
        return {
            status.name: self.observatory.standing(status, self.policies, now_ns)
            for status in self.policies.statuses(now_ns)
            if status.state.stage
        }


_T = TypeVar("_T")


def _guarded(part: Callable[[], _T], otherwise: _T, problems: list[str]) -> _T:
    try:
        return part()
    except PerfoptError as error:
        problems.append(str(error))
        return otherwise
