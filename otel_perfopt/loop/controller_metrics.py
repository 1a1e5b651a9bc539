"""What the controller did and knows in, OpenTelemetry metrics out; off the decision path, and never in its way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from otel_perfopt import __version__
from otel_perfopt import conventions as c
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.execution.model import Execution
from otel_perfopt.loop.expected_time import ExpectedTimes
from otel_perfopt.loop.performance_goals import GoalTarget, read_goals
from otel_perfopt.loop.policy_readings import MAX_POLICIES, ApprovalWaits, ChangeLog, Name, Reading, policy_readings
from otel_perfopt.loop.queue import optimization_queue
from otel_perfopt.loop.recent_runs import RecentRuns
from otel_perfopt.measure.meter_process import resident_bytes

if TYPE_CHECKING:
    from otel_perfopt.loop.controller import Controller, Turn

_LOG = logging.getLogger(__name__)

GOAL_METRICS = {
    "response_time": c.METRIC_GOAL_RESPONSE,
    "thinking_time": c.METRIC_GOAL_THINKING,
    "tool_time": c.METRIC_GOAL_TOOLS,
    "tokens": c.METRIC_GOAL_TOKENS,
    "success": c.METRIC_GOAL_SUCCESS,
    "satisfaction": c.METRIC_GOAL_SATISFACTION,
}
COUNTERS = (
    c.METRIC_POLICY_ROLLBACKS,
    c.METRIC_CONTROLLER_TURNS,
    c.METRIC_CONTROLLER_CPU,
    c.METRIC_CONTROLLER_RUNS,
    c.METRIC_CONTROLLER_UNREAD,
    c.METRIC_CONTROLLER_FAULTS,
)
GAUGES = (
    c.METRIC_POLICY_STATE,
    c.METRIC_POLICY_EXPOSURE,
    c.METRIC_POLICY_VERDICT,
    c.METRIC_POLICY_EFFECT,
    c.METRIC_POLICY_PREDICTED,
    c.METRIC_POLICY_GUARDRAIL,
    c.METRIC_POLICY_EVIDENCE,
    c.METRIC_POLICY_RETAINED,
    c.METRIC_POLICY_UNITS,
    c.METRIC_POLICY_CHANGED,
    c.METRIC_POLICY_WAITING,
    c.METRIC_POLICY_REMAINING,
    c.METRIC_POLICY_RISK,
    c.METRIC_POLICY_PRIORITY,
    c.METRIC_BUDGET_SHARE,
    c.METRIC_BUDGET_WORTH,
    *GOAL_METRICS.values(),
    c.METRIC_GOAL_IMPROVEMENT,
    c.METRIC_CONTROLLER_TURN,
    c.METRIC_CONTROLLER_MEMORY,
    c.METRIC_CONTROLLER_PROBLEMS,
    c.METRIC_LEDGER_HEALTHY,
    c.METRIC_KILLED,
    c.METRIC_SNAPSHOT_TIME,
    c.METRIC_SNAPSHOT_LEASE,
    c.METRIC_SNAPSHOT_DECISIONS,
)


class ControllerMetrics:
    """The metrics of one controller; call `observe` after each turn.

    Readings are made in the loop's own thread, after a turn has decided and published, and handed to
    the exporter's thread as one immutable mapping. A fault leaves the readings before it standing, is
    counted (`perfopt.controller.faults`) and told once.
    """

    def __init__(
        self, controller: Controller, provider: MeterProvider, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._controller = controller
        self._clock_ns = clock_ns
        self._runs = RecentRuns()
        self._changes = ChangeLog()
        self._waits = ApprovalWaits()
        self._times = ExpectedTimes()
        self._readings: dict[Name, list[Observation]] = {}
        self._turns = self._counted_runs = self._faults = 0
        controller.observatory.run_listeners.append(self._run)
        meter = provider.get_meter(c.INSTRUMENTATION_SCOPE, __version__)
        for name in COUNTERS:
            meter.create_observable_counter(name[0], [partial(self._observed, name)], name[1])
        for name in GAUGES:
            meter.create_observable_gauge(name[0], [partial(self._observed, name)], name[1])

    def observe(self, turn: Turn) -> None:
        """Take a turn into account; never raises."""
        try:
            self._turns += 1
            self._counted_runs += turn.runs
            self._runs.forget_before(turn.now_ns)
            found: dict[Name, list[Observation]] = {}
            for reading in self._read(turn):
                found.setdefault(reading.name, []).append(Observation(reading.value, dict(reading.attributes)))
            self._readings = found
        except Exception as error:
            self._fault(error)

    def _run(self, execution: Execution) -> None:
        try:
            self._runs.observe(execution)
        except Exception as error:
            self._fault(error)

    def _fault(self, error: Exception) -> None:
        self._faults += 1
        if self._faults == 1:
            _LOG.warning("the controller's metrics could not be made: %s: %s", type(error).__name__, error)

    def _observed(self, name: Name, options: CallbackOptions) -> Iterable[Observation]:  # noqa: ARG002 - the SDK's signature
        if name == c.METRIC_CONTROLLER_FAULTS:
            return (Observation(self._faults),)
        return self._readings.get(name, ())

    def _read(self, turn: Turn) -> Iterator[Reading]:
        policies = self._controller.policies
        statuses = policies.statuses(turn.now_ns)
        decisions = turn.snapshot.decisions if turn.snapshot is not None else ()
        yield from policy_readings(statuses, turn.standings, decisions)
        yield from self._waits.readings(statuses, turn.standings, turn.now_ns)
        self._changes.follow(policies.ledger.entries)
        yield from self._changes.readings(status.name for status in statuses[:MAX_POLICIES])
        for status in statuses[:MAX_POLICIES]:
            yield from self._remaining(status, turn)
        for item in optimization_queue(policies, self._controller.learned, turn.now_ns)[:MAX_POLICIES]:
            yield Reading(c.METRIC_POLICY_PRIORITY, item.score, {c.POLICY: item.policy})
        yield from self._budgets()
        yield from self._goals(read_goals(policies.home))
        yield from self._own(turn)

    def _remaining(self, status: PolicyStatus, turn: Turn) -> Iterator[Reading]:
        standing = turn.standings.get(status.name)
        rate = self._runs.conversations_per_s(status.policy.spec.match.command)
        seconds = self._times.seconds(status, len(standing.units) if standing else 0, rate, turn.now_ns)
        if seconds is not None:
            yield Reading(c.METRIC_POLICY_REMAINING, seconds, {c.POLICY: status.name})

    def _budgets(self) -> Iterator[Reading]:
        divider = self._controller.budgets
        for name, shares in list(divider.shares(self._controller.policies).items())[:MAX_POLICIES]:
            for command, share in shares.items():
                yield Reading(c.METRIC_BUDGET_SHARE, share, {c.BUDGET: name, c.COMMAND_NAME: command})
            for command, seconds in divider.worth(name).items():
                yield Reading(c.METRIC_BUDGET_WORTH, seconds, {c.BUDGET: name, c.COMMAND_NAME: command})

    def _goals(self, targets: Mapping[str, GoalTarget]) -> Iterator[Reading]:
        for goal, target in targets.items():
            current, reference = self._runs.current(goal), self._runs.reference(goal)
            wanted = target.target(reference)
            values = {c.GOAL_CURRENT: current, c.GOAL_REFERENCE: reference, c.GOAL_TARGET: wanted}
            shares = {
                c.GOAL_ACHIEVED: target.improvement(reference, current),
                c.GOAL_ASKED: target.asked(reference),
            }
            for part, value in values.items():
                if value is not None:
                    yield Reading(GOAL_METRICS[goal], value, {c.GOAL_VALUE: part})
            for part, value in shares.items():
                if value is not None:
                    yield Reading(c.METRIC_GOAL_IMPROVEMENT, value, {c.GOAL: goal, c.GOAL_VALUE: part})

    def _own(self, turn: Turn) -> Iterator[Reading]:
        policies = self._controller.policies
        tally = self._controller.observatory.tally
        values = {
            c.METRIC_CONTROLLER_TURNS: self._turns,
            c.METRIC_CONTROLLER_RUNS: self._counted_runs,
            c.METRIC_CONTROLLER_UNREAD: sum(tally.problem_counts.values()),
            c.METRIC_CONTROLLER_TURN: max(0, self._clock_ns() - turn.now_ns) / 1e9,
            c.METRIC_CONTROLLER_CPU: time.process_time(),
            c.METRIC_CONTROLLER_MEMORY: resident_bytes(),
            c.METRIC_CONTROLLER_PROBLEMS: len(turn.problems),
            c.METRIC_LEDGER_HEALTHY: int(policies.healthy),
            c.METRIC_KILLED: int(policies.killed),
        }
        if turn.snapshot is not None:
            values[c.METRIC_SNAPSHOT_TIME] = turn.snapshot.generated_at_ns / 1e9
            values[c.METRIC_SNAPSHOT_LEASE] = turn.snapshot.lease_s
            values[c.METRIC_SNAPSHOT_DECISIONS] = len(turn.snapshot.decisions)
        yield from (Reading(name, value, {}) for name, value in values.items() if value is not None)
