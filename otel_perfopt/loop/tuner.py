"""Which value of a tuned parameter is best now: finished runs and policies in, ledger entries that drop values out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from otel_perfopt.conventions import POLICY_VALUE, policy_attribute
from otel_perfopt.decide.adaptation import TUNE_EVENT, TuningStanding
from otel_perfopt.decide.allocation import TREATMENT
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.policy_status import PolicyStatus, tuned_of
from otel_perfopt.decide.tuned import Tuned
from otel_perfopt.decide.tuning import Tune
from otel_perfopt.execution.model import Execution
from otel_perfopt.loop.run_value import run_value
from otel_perfopt.verify.units import USER
from otel_perfopt.verify.value_race import Dropped, ValueRace


@dataclass(slots=True)
class _Tuning:
    """One policy's tuning as it stands in the ledger, and the comparison that goes on from there."""

    digest: str
    standing: TuningStanding
    tuned: Tuned
    race: ValueRace
    metric: str
    unit: str
    since_ns: int


class Tuner:
    """Compares the values of every exposed policy that tunes; what is dropped is in the ledger before it holds.

    A unit's value is what the agent says on the command's span. Whether the policy as a whole helps or harms is
    judged beside this, over all its treated units, as for any other policy.
    """

    def __init__(self) -> None:
        self._tunings: dict[str, _Tuning] = {}

    def observe(self, execution: Execution) -> None:
        """Take one finished run into account."""
        for policy, tuning in self._tunings.items():
            arm = execution.arms.get(policy)
            if arm is None or (arm.arm, arm.digest) != (TREATMENT, tuning.digest):
                continue
            index = _index(tuning.tuned, execution.command.attributes.get(policy_attribute(policy, POLICY_VALUE)))
            unit = execution.user_id if tuning.unit == USER else execution.conversation_id
            value = run_value(tuning.metric, execution) if index is not None and unit else None
            if index is not None and value is not None and execution.command.start_ns >= tuning.since_ns:
                tuning.race.observe(unit, index, value, execution.command.start_ns)

    def turn(self, policies: PolicySet, statuses: Sequence[PolicyStatus], now_ns: int) -> None:
        """Write down which values go.

        Raises:
            LedgerError: it could not be written, so nothing changed.
        """
        tuning = [status for status in statuses if status.policy.spec.tune is not None]
        exposed = [status for status in tuning if status.is_in_force and status.state.is_exposed]
        names = {status.name for status in exposed}
        self._tunings = {name: kept for name, kept in self._tunings.items() if name in names}
        for status in exposed:
            self._follow(status, policies, now_ns)

    def _follow(self, status: PolicyStatus, policies: PolicySet, now_ns: int) -> None:
        tune, tuned = status.policy.spec.tune, tuned_of(status)
        assert tune is not None
        assert tuned is not None
        standing = policies.journal.adaptations.tuning(status.name, status.digest)
        known = self._tunings.get(status.name)
        if known is None or (known.digest, known.standing) != (status.digest, standing):
            known = self._tunings[status.name] = _begun(status, tune, tuned, standing)
        if len(tuned.left) < 2:
            if tune.again_s is not None and now_ns - standing.since_ns >= tune.again_s * 1e9:
                reason = "all values are tried again, as `again` asks"
                policies.note(_entry(status, tuned, (), reason=reason, now_ns=now_ns))
            return
        answer = known.race.answer()
        if answer is None:
            return
        dropped = tuple(sorted(status.dropped | set(answer.values)))
        reason = _reason(status, tuned, answer)
        policies.note(_entry(status, tuned, dropped, reason=reason, now_ns=now_ns, **answer.numbers))
        # What the values left have shown so far stays with them.
        for index in answer.values:
            known.race.drop(index)
        known.standing = policies.journal.adaptations.tuning(status.name, status.digest)


def _begun(status: PolicyStatus, tune: Tune, tuned: Tuned, standing: TuningStanding) -> _Tuning:
    spec = status.policy.spec
    metric = tune.goal or spec.goal.metric
    declared = spec.optimize.parameters.published().get(tuned.parameter)
    race = ValueRace(
        metric,
        tuned.left,
        alpha=spec.alpha,
        min_units=tune.min_units,
        max_units=tune.max_units,
        declared=_index(tuned, declared),
        among=len(tuned.values),
    )
    since_ns = 0 if standing.dropped else standing.since_ns
    return _Tuning(status.digest, standing, tuned, race, metric, spec.rollout.unit, since_ns)


def _index(tuned: Tuned, value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    found = (index for index, one in enumerate(tuned.values) if math.isclose(one, value, rel_tol=1e-9, abs_tol=1e-12))
    return next(found, None)


def _reason(status: PolicyStatus, tuned: Tuned, answer: Dropped) -> str:
    spec = status.policy.spec
    assert spec.tune is not None
    metric = spec.tune.goal or spec.goal.metric

    def said(index: int) -> str:
        assert spec.tune is not None
        return spec.tune.written(spec.optimize.type, tuned.values[index])

    gone, kept = ", ".join(said(index) for index in answer.values), said(answer.against)
    if answer.at_limit:
        return f"{spec.tune.parameter} {kept} stays: {spec.tune.max_units} units show no difference to {gone}"
    change = ""
    if "effect" in answer.numbers:
        low, high = answer.numbers["low"] * 100, answer.numbers["high"] * 100
        change = f" {answer.numbers['effect'] * 100:+.1f} % (from {low:+.1f} to {high:+.1f})"
    return f"{spec.tune.parameter} {gone} is shown worse than {kept}: {metric}{change}"


def _entry(
    status: PolicyStatus, tuned: Tuned, dropped: Sequence[int], *, reason: str, now_ns: int, **numbers: Any
) -> LedgerEntry:
    left = [value for index, value in enumerate(tuned.values) if index not in dropped]
    details = {"parameter": tuned.parameter, "values": list(tuned.values), "dropped": list(dropped), "left": left}
    told = {**details, **numbers}
    return LedgerEntry(now_ns, "perfopt", TUNE_EVENT, status.name, digest=status.digest, reason=reason, details=told)
