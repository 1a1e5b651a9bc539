"""Where policies stand, as numbers: statuses, standings and ledger entries in, readings for the meter out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from otel_perfopt import conventions as c
from otel_perfopt.analyse.finding import Interval
from otel_perfopt.decide.allocation import BASELINE, TREATMENT
from otel_perfopt.decide.decision import Decision
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.observation import Retained
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.state import EVERY_POLICY, State
from otel_perfopt.loop.observatory import Standing
from otel_perfopt.verify.verdict import Conclusion, MetricResult, Verdict

Name = tuple[str, str]
MAX_POLICIES = 200
MAX_METRICS = 20
_PREDICTED = "perfopt.dev/predicted"
_PREDICTED_METRIC = "perfopt.dev/predicted-metric"


class Reading(NamedTuple):
    """One value of one metric."""

    name: Name
    value: float
    attributes: Mapping[str, str]


def policy_readings(
    statuses: Sequence[PolicyStatus],
    standings: Mapping[str, Standing],
    decisions: Sequence[Decision],
) -> Iterator[Reading]:
    """Yield what is to be said of each policy now; of at most 200 policies and 20 metrics each."""
    exposure = {decision.policy: decision.allocation.treatment for decision in decisions}
    for status in statuses[:MAX_POLICIES]:
        policy = {c.POLICY: status.name}
        yield from _state(status, exposure.get(status.name, 0.0))
        yield from _prediction(status)
        standing = standings.get(status.name)
        if standing is not None and standing.observation.shadow is not None:
            yield from _retained(standing.observation.shadow.retained, policy)
        if standing is not None and standing.verdict is not None:
            yield from _verdict(standing.verdict, policy)


def _state(status: PolicyStatus, exposure: float) -> Iterator[Reading]:
    policy, optimize = {c.POLICY: status.name}, status.policy.spec.optimize.type
    kind = {**policy, c.OPTIMIZATION: optimize}
    yield Reading(c.METRIC_POLICY_STATE, c.STATE_CODES[str(status.state.state)], kind)
    yield Reading(c.METRIC_POLICY_EXPOSURE, exposure, policy)
    risk = c.RISK_CODES.get(status.policy.spec.kind.risk.partition(":")[0].strip())
    if risk is not None:
        yield Reading(c.METRIC_POLICY_RISK, risk, kind)


def predicted_effect(status: PolicyStatus) -> tuple[str, Interval] | None:
    """Return the metric and the effect (−0.3: 30 % less) that its proposal predicted; None where nobody did."""
    notes = status.policy.metadata.annotations
    try:
        saving, low, high = (float(notes[_PREDICTED + suffix]) for suffix in ("", "-low", "-high"))
    except (KeyError, ValueError):
        return None
    # A prediction is a share saved; an effect is a change.
    return notes.get(_PREDICTED_METRIC, "latency"), Interval(-saving, -high, -low)


def _prediction(status: PolicyStatus) -> Iterator[Reading]:
    predicted = predicted_effect(status)
    if predicted is not None:
        metric, effect = predicted
        yield from _interval(c.METRIC_POLICY_PREDICTED, effect, {c.POLICY: status.name, c.COMPARED_METRIC: metric})


def _retained(found: Retained | None, policy: Mapping[str, str]) -> Iterator[Reading]:
    if found is not None:
        yield from _interval(c.METRIC_POLICY_RETAINED, Interval(found.share, found.low, found.high), policy)


def _verdict(verdict: Verdict, policy: Mapping[str, str]) -> Iterator[Reading]:
    yield Reading(c.METRIC_POLICY_VERDICT, c.VERDICT_CODES[str(verdict.conclusion)], policy)
    for arm, units in ((TREATMENT, verdict.treatment_units), (BASELINE, verdict.baseline_units)):
        yield Reading(c.METRIC_POLICY_UNITS, units, {**policy, c.ARM: arm})
    for result in verdict.metrics[:MAX_METRICS]:
        yield from _compared(result, {**policy, c.COMPARED_METRIC: result.metric, c.COMPARED_ROLE: result.role})


def _compared(result: MetricResult, labels: Mapping[str, str]) -> Iterator[Reading]:
    if result.effect is not None:
        yield from _interval(c.METRIC_POLICY_EFFECT, result.effect, labels)
    if result.role != "goal":
        word = "harmed" if result.harmed else "held" if result.held else "not shown"
        yield Reading(c.METRIC_POLICY_GUARDRAIL, c.GUARDRAIL_CODES[word], labels)
    if result.e_value and result.threshold and result.threshold > 1:
        # Evidence multiplies, so its logarithm is what grows evenly; none against harm counts as none.
        yield Reading(c.METRIC_POLICY_EVIDENCE, max(0.0, math.log(result.e_value) / math.log(result.threshold)), labels)


def _interval(name: Name, interval: Interval, labels: Mapping[str, str]) -> Iterator[Reading]:
    parts = (
        (c.INTERVAL_ESTIMATE, interval.estimate),
        (c.INTERVAL_LOW, interval.low),
        (c.INTERVAL_HIGH, interval.high),
    )
    for part, value in parts:
        if math.isfinite(value):
            yield Reading(name, value, {**labels, c.INTERVAL_PART: part})


class ApprovalWaits:
    """How long each policy's next gate has been waiting for somebody.

    A canary waits from when it is better: before that there is nothing to say yes to. That moment is
    not on the ledger, so it is counted anew after a restart.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[str, str, str], int] = {}

    def readings(
        self, statuses: Sequence[PolicyStatus], standings: Mapping[str, Standing], now_ns: int
    ) -> Iterator[Reading]:
        """Yield the seconds; 0 for a policy of which nothing waits."""
        waiting: dict[tuple[str, str, str], int] = {}
        for status in statuses[:MAX_POLICIES]:
            state, waits_ns = status.state, 0
            if status.pending_gate and _ready(status, standings.get(status.name)):
                key = (status.name, status.digest, status.pending_gate)
                began = now_ns if state.state is State.CANARY else state.since_ns
                waiting[key] = self._since.get(key, began)
                waits_ns = now_ns - waiting[key]
            yield Reading(c.METRIC_POLICY_WAITING, max(0, waits_ns) / 1e9, {c.POLICY: status.name})
        self._since = waiting


def _ready(status: PolicyStatus, standing: Standing | None) -> bool:
    if status.state.state is not State.CANARY:
        return True
    verdict = standing.verdict if standing is not None else None
    return verdict is not None and verdict.conclusion is Conclusion.BETTER


class ChangeLog:
    """What the ledger says happened to each policy: how often it was taken back, and when it last went from where to where."""

    def __init__(self) -> None:
        self._read = 0
        self._rollbacks: dict[str, int] = {}
        self._changes: dict[tuple[str, str, str], int] = {}

    def follow(self, entries: Sequence[LedgerEntry]) -> None:
        """Take in the entries that are new since the last call; `entries` is the whole ledger."""
        if len(entries) < self._read:
            self.__init__()  # type: ignore[misc]  # another ledger stands in its place
        for entry in entries[self._read :]:
            if entry.to_state and entry.policy != EVERY_POLICY:
                self._changes[entry.policy, entry.from_state, entry.to_state] = entry.time_ns
                taken_back = entry.to_state == str(State.ROLLED_BACK)
                self._rollbacks[entry.policy] = self._rollbacks.get(entry.policy, 0) + taken_back
        self._read = len(entries)

    def readings(self, policies: Iterable[str]) -> Iterator[Reading]:
        """Yield counts and times of the policies named."""
        names = set(policies)
        for policy, number in self._rollbacks.items():
            if policy in names:
                yield Reading(c.METRIC_POLICY_ROLLBACKS, number, {c.POLICY: policy})
        for (policy, before, after), time_ns in self._changes.items():
            if policy in names and before != after:
                labels = {c.POLICY: policy, c.CHANGED_FROM: before, c.CHANGED_TO: after}
                yield Reading(c.METRIC_POLICY_CHANGED, time_ns / 1e9, labels)
