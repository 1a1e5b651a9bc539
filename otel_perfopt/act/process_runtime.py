"""What is done to a whole process: snapshots in, process optimizations begun and taken back out."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from otel_perfopt import conventions
from otel_perfopt.act.breaker import BreakerState
from otel_perfopt.act.clock import SYSTEM_CLOCK, Clock
from otel_perfopt.act.enrolment import PROCESS, SHADOW, Use, enrol, enrolled
from otel_perfopt.act.fault_log import FaultLog
from otel_perfopt.act.parameters.table import Seam, names_at
from otel_perfopt.act.process import ProcessOptimization
from otel_perfopt.act.process_start_time import ProcessStartTime
from otel_perfopt.act.process_unit import process_unit
from otel_perfopt.act.run_tally import count
from otel_perfopt.act.selection import Rule
from otel_perfopt.act.snapshot_source import NOTHING_IN_FORCE, InForce
from otel_perfopt.decide.allocation import TREATMENT
from otel_perfopt.signal.calls import RunContext


class ProcessRuntime:
    """Makes the process as the snapshot says, and tells on every command's span which arm the process is in.

    Only decisions whose unit is the process are followed: what all calls share cannot differ between two
    conversations. A fault takes the optimization back and is counted on the next command it was meant for.
    """

    def __init__(
        self,
        optimizations: Iterable[ProcessOptimization] = (),
        *,
        begun: Mapping[str, Use] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        unit: Callable[[], str] = process_unit,
    ) -> None:
        self._optimizations = {item.name: item for item in optimizations}
        self._begun: dict[str, Use] = dict(begun or {})
        self._clock = clock
        self._unit = unit
        self._in_force = NOTHING_IN_FORCE
        self._rules: tuple[Rule, ...] = ()
        self._faulted: Counter[str] = Counter()
        self._start = ProcessStartTime()
        self.faults = FaultLog(names_at(Seam.PROCESS), clock)
        self._reset()

    def _reset(self) -> None:
        self._following = threading.Lock()
        self._counting = threading.Lock()
        self._open_runs = 0
        self._quiet_since_ns = self._clock.monotonic_ns()
        self._closed = False

    @property
    def in_force(self) -> Mapping[str, Use]:
        """What has been begun, by optimization."""
        return dict(self._begun)

    def follow(self, in_force: InForce) -> None:
        """Begin what `in_force` wants of this process and end what it does not; called after each look at the snapshot."""
        with self._following:
            if self._closed:
                return
            self._rules = process_rules(in_force) if self._followed(in_force) else ()
            self._in_force = in_force
            wanted = {
                name: use for name, use in uses_here(self._rules, self._unit()).items() if name in self._optimizations
            }
            for name in [name for name, use in self._begun.items() if not _same(use, wanted.get(name))]:
                self._end(name)
            for name, use in wanted.items():
                if name not in self._begun:
                    self._begin(name, use)
            for name in list(self._begun):
                self._tick(name)

    def close(self) -> None:
        """Take everything back; nothing is begun from here on."""
        with self._following:
            self._closed = True
            self._rules = ()
            for name in list(self._begun):
                self._end(name)

    def after_fork(self) -> None:
        """Leave the parent's threads, locks and commands behind; called in the child."""
        closed = self._closed
        self._reset()
        self._closed = closed
        self._start.after_fork()
        self.faults.after_fork()
        for optimization in self._optimizations.values():
            optimization.after_fork()

    def run_began(self, run: RunContext) -> None:
        """A command begins: it carries the arm of its process, and earlier faults of its policies."""
        self._start.over(run)
        with self._counting:
            self._open_runs += 1
        if not self._followed(self._in_force):
            return
        for rule in self._rules:
            if rule.applies_to_model(run.command, "") and enrol(run, rule, self._unit()).arm is not None:
                faults = self._faulted.pop(rule.decision.policy, 0)
                if faults:
                    count(run, rule.decision.policy, conventions.POLICY_FAULTS, faults)

    def run_ended(self, run: RunContext) -> None:
        """A command has ended: what the optimizations in force did so far is put on its span."""
        with self._counting:
            self._open_runs = max(0, self._open_runs - 1)
            self._quiet_since_ns = self._clock.monotonic_ns()
        if not run.span.is_recording():
            return
        self._start.tell(run)
        for name, use in list(self._begun.items()):
            enrolment = enrolled(run, use.rule)
            if enrolment is not None and enrolment.arm is not None:
                for field, number in self._optimizations[name].facts().items():
                    run.span.set_attribute(conventions.policy_attribute(use.policy, field), number)

    def _followed(self, in_force: InForce) -> bool:
        return in_force.followed(self._clock.wall_ns())

    def _begin(self, name: str, use: Use) -> None:
        breaker = self.faults.breakers[name]
        if not breaker.allow():
            return
        try:
            self._optimizations[name].begin(use)
        except Exception as error:
            self._fault(name, use, error)
            self._take_back(name, use)
            return
        self._begun[name] = use
        breaker.succeeded()

    def _end(self, name: str) -> None:
        self._take_back(name, self._begun.pop(name))

    def _tick(self, name: str) -> None:
        try:
            self._optimizations[name].tick(self._quiet_s())
        except Exception as error:
            self._fault(name, self._begun[name], error)
            if self.faults.breakers[name].state is not BreakerState.CLOSED:
                self._end(name)

    def _take_back(self, name: str, use: Use) -> None:
        try:
            self._optimizations[name].end()
        except Exception as error:
            self._fault(name, use, error)

    def _fault(self, name: str, use: Use, error: Exception) -> None:
        self.faults.note(name, error, None)
        self._faulted[use.policy] += 1

    def _quiet_s(self) -> float:
        with self._counting:
            if self._open_runs:
                return 0.0
            return max(0.0, (self._clock.monotonic_ns() - self._quiet_since_ns) / 1e9)


def wanted_here(in_force: InForce, clock: Clock = SYSTEM_CLOCK) -> dict[str, Use]:
    """Return, by optimization, what a snapshot wants of this process now."""
    if not in_force.followed(clock.wall_ns()):
        return {}
    return uses_here(process_rules(in_force), process_unit())


def process_rules(in_force: InForce) -> tuple[Rule, ...]:
    """Return the rules that processes are compared under; the first of each optimization wins."""
    first: dict[str, Rule] = {}
    for rule in in_force.plan.process_rules:
        if rule.decision.policy not in in_force.killed_policies and rule.decision.unit == PROCESS:
            first.setdefault(rule.decision.optimization, rule)
    return tuple(first.values())


def uses_here(rules: Iterable[Rule], unit: str) -> dict[str, Use]:
    """Return how rules are to be used in the process of this unit, by optimization; without those it is baseline for."""
    uses = ((rule.decision.optimization, use_here(rule, unit)) for rule in rules)
    return {name: use for name, use in uses if use is not None}


def use_here(rule: Rule, unit: str) -> Use | None:
    """Return how a rule is to be used in this process; None where it is baseline or not in the comparison."""
    decision = rule.decision
    if decision.stage == SHADOW:
        return Use(rule, shadow=True)
    return Use(rule, shadow=False) if decision.allocation.arm(decision.salt, unit) == TREATMENT else None


def _same(use: Use, wanted: Use | None) -> bool:
    return wanted is not None and use.shadow == wanted.shadow and use.rule.governs_like(wanted.rule)
