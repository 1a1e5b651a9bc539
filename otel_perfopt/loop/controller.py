"""The controller: a home folder and a clock in; each turn compares, decides, writes the ledger and publishes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from otel_perfopt.decide.condition import when_met
from otel_perfopt.decide.decision import Snapshot
from otel_perfopt.decide.lifecycle import Transition
from otel_perfopt.decide.observation import NOTHING_OBSERVED, Observation
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.publish import LEASE_S, publish
from otel_perfopt.errors import PerfoptError
from otel_perfopt.loop.findings_watch import FindingsWatch
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER, Observatory, Standing


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

    A turn that fails in one part goes on with the next: above all, a policy that harms is taken back
    also when something else cannot be written.
    """

    def __init__(
        self,
        home: Path,
        clock: Callable[[], int] = time.time_ns,
        lease_s: float = LEASE_S,
        executor: Executor | None = None,
    ) -> None:
        self._clock = clock
        self._lease_s = lease_s
        self.policies = PolicySet.open(home, clock())
        self.observatory = Observatory(home)
        self.findings = FindingsWatch(home, home / TELEMETRY_FOLDER, executor=executor)

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
        problems += [str(problem) for problem in self.policies.problems]
        return Turn(now_ns, runs, standings, tuple(transitions), snapshot, tuple(problems))

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
