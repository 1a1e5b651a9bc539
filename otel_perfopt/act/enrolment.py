"""Which arm a run is in: a run and a rule in, the arm for the whole run out, stamped on the command's span."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from otel_perfopt import conventions
from otel_perfopt.act.selection import Rule
from otel_perfopt.decide.allocation import BASELINE, TREATMENT
from otel_perfopt.decide.decision import Decision
from otel_perfopt.signal.calls import RunContext

SHADOW = "shadow"
PROCESS = "process"
_SLOT_PREFIX = "perfopt.act.arm."


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The arm of one run under one policy, decided once; `arm` is None for a run outside the comparison.

    `value` is which value a treated run has of the parameter that is tuned; None where none is.
    """

    decision: Decision
    arm: str | None
    value: int | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """A rule that is to be applied to a call; in shadow it watches and never changes a result."""

    rule: Rule
    shadow: bool

    @property
    def policy(self) -> str:
        """The policy's name."""
        return self.rule.decision.policy


def enrol(run: RunContext, rule: Rule, process_unit: str) -> Enrolment:
    """Return the run's enrolment, decided at its first eligible call and kept whatever the snapshot says later."""
    decision = rule.decision
    slot = _SLOT_PREFIX + decision.policy
    kept: Enrolment | None = run.slots.get(slot)
    if kept is not None:
        return kept
    fresh = _fresh(run, decision, process_unit)
    winner: Enrolment = run.slots.setdefault(slot, fresh)
    if winner is fresh:
        _stamp(run, fresh, process_unit)
    return winner


def enrolled(run: RunContext, rule: Rule) -> Enrolment | None:
    """Return the run's enrolment if it has been decided."""
    kept: Enrolment | None = run.slots.get(_SLOT_PREFIX + rule.decision.policy)
    return kept


def foreseen(run: RunContext, rule: Rule, process_unit: str) -> Enrolment:
    """Return the enrolment the run has or would get, without deciding it."""
    return enrolled(run, rule) or _fresh(run, rule.decision, process_unit)


def use_of(enrolment: Enrolment, rule: Rule) -> Use | None:
    """Return how the rule applies to a run so enrolled, or None for a plain call.

    A policy whose digest changed under way is another policy: the run it began in ends plainly.
    """
    if enrolment.decision.digest != rule.decision.digest:
        return None
    if SHADOW in (enrolment.decision.stage, rule.decision.stage):
        return Use(rule, shadow=True)
    if enrolment.arm != TREATMENT:
        return None
    index = enrolment.value
    return Use(rule if index is None or index >= len(rule.by_value) else rule.by_value[index], shadow=False)


def unit_of(run: RunContext, decision: Decision, process_unit: str) -> str:
    """Return the id that is allocated, or empty where the run has none of that kind."""
    if decision.unit == "conversation":
        return run.conversation_id or _trace_id(run)
    if decision.unit == "user":
        return run.user_id
    return process_unit if decision.unit == PROCESS else ""


def _trace_id(run: RunContext) -> str:
    context = run.span.get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else ""


def _fresh(run: RunContext, decision: Decision, process_unit: str) -> Enrolment:
    arm = _arm(run, decision, process_unit)
    if decision.tuned is None or arm != TREATMENT:
        return Enrolment(decision, arm)
    return Enrolment(decision, arm, decision.tuned.index(decision.salt, unit_of(run, decision, process_unit)))


def _arm(run: RunContext, decision: Decision, process_unit: str) -> str | None:
    if decision.stage == SHADOW:
        # Nobody is exposed: every run behaves as baseline, and says so.
        return BASELINE
    unit = unit_of(run, decision, process_unit)
    return decision.allocation.arm(decision.salt, unit) if unit else None


def _stamp(run: RunContext, enrolment: Enrolment, process_unit: str) -> None:
    if enrolment.arm is None or not run.span.is_recording():
        return
    decision = enrolment.decision
    fields: dict[str, str | float] = {
        conventions.POLICY_ARM: enrolment.arm,
        conventions.POLICY_DIGEST: decision.digest,
        conventions.POLICY_STAGE: decision.stage,
        conventions.POLICY_ALLOCATION: decision.allocation.treatment_share,
    }
    if decision.unit == PROCESS:
        fields[conventions.POLICY_UNIT] = blake2b(process_unit.encode(), digest_size=8).hexdigest()
    if enrolment.value is not None and decision.tuned is not None:
        fields[conventions.POLICY_VALUE] = decision.tuned.values[enrolment.value]
    for field, value in fields.items():
        run.span.set_attribute(conventions.policy_attribute(decision.policy, field), value)
