"""Treatment against baseline while they run: a decision, its plan and units in, a `Verdict` out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from otel_perfopt.decide.allocation import BASELINE, TREATMENT
from otel_perfopt.decide.decision import Decision
from otel_perfopt.decide.state import State
from otel_perfopt.verify import explanation
from otel_perfopt.verify.comparison_plan import ComparisonPlan, Goal, Guardrail
from otel_perfopt.verify.criterion import Criterion, goal_criterion, guardrail_criterion
from otel_perfopt.verify.evidence import Stratum, threshold
from otel_perfopt.verify.failure_eprocess import EventCounts, log_e_mismatch
from otel_perfopt.verify.frozen_value import ExceedanceTest, WinsorisedTest
from otel_perfopt.verify.look import Look
from otel_perfopt.verify.metric_kind import FAULT
from otel_perfopt.verify.opening import Frozen, Opening, Place
from otel_perfopt.verify.units import Exclusions
from otel_perfopt.verify.verdict import Conclusion, Unit, Verdict

__all__ = ["Comparison", "ComparisonPlan", "Goal", "Guardrail", "compare"]

SHADOW = str(State.SHADOW)
ACTIVE = str(State.ACTIVE)
# Beyond these no duration, count or cost lies, and squares and ratios no longer fit a float.
_LEAST, _MOST = 1e-100, 1e100


class Comparison:
    """The running state of one comparison: units in order of `first_ns`, a look whenever one likes.

    A unit's values are taken as they are when it is observed; to correct a unit (a conversation that
    went on) build the comparison anew from all units, which `compare` does.

    The state is counts and sums by stage, some tens of numbers. Several processes may each observe
    units of their own and `merge`: given the same `opening`, what comes out is what one would have.
    """

    def __init__(self, decision: Decision, plan: ComparisonPlan, opening: Opening | None = None) -> None:
        self.decision = decision
        self.plan = plan
        goal = goal_criterion(plan.goal, plan)
        self.criteria = (goal, *(guardrail_criterion(guardrail, plan) for guardrail in plan.guardrails))
        self._fed = tuple((criterion, criterion.means, criterion.positive_only) for criterion in self.criteria)
        self.enrolments = EventCounts()
        self.left_out: Counter[str] = Counter()
        self.started_ns: int | None = None
        self._stage_started: dict[Stratum, int] = {}
        self._frozen: dict[tuple[str, Stratum], Frozen] = {}
        guarded = {guardrail.metric for guardrail in plan.guardrails}
        # A goal that is guarded too has its tolerance there; faults are counted, not tested.
        self._harm_tests = tuple(c for c in self.criteria if not (c is goal and goal.metric in guarded))
        tested = sum(c.metric != FAULT for c in self._harm_tests)
        self.harm_alpha = plan.alpha / max(1, tested)
        if opening is not None:
            self._begin_with(opening)

    def settled(self, stratum: Stratum) -> bool:
        """Tell whether nothing in a stratum is still to be frozen, so that from here on order does not matter."""
        wanted = [
            criterion
            for criterion in self.criteria
            if isinstance(criterion.test, (ExceedanceTest, WinsorisedTest)) and criterion.test.given is None
        ]
        return stratum in self._stage_started and all((one.metric, stratum) in self._frozen for one in wanted)

    def stratum_of(self, unit: Unit) -> Stratum | None:
        """Return the stratum that a unit counts in, None where it counts nowhere."""
        counts = unit.stage != SHADOW and unit.arm in (TREATMENT, BASELINE)
        allocation = self._allocation(unit) if counts else None
        return None if allocation is None else Stratum(unit.stage, allocation)

    @property
    def opening(self) -> Opening:
        """What the units so far have fixed, for other processes to go on from."""
        return Opening(dict(self._stage_started), dict(self._frozen))

    def merge(self, other: Comparison) -> None:
        """Add what another process observed of other units of the same trial.

        Raises:
            ValueError: the two compare something else, or did not begin with the same opening.
        """
        if (other.decision, other.plan) != (self.decision, self.plan):
            raise ValueError("only comparisons of one decision under one plan can be merged")
        starts = self._stage_started, other._stage_started
        if self.plan.warmup_s and any(starts[0].get(stratum, at) != at for stratum, at in starts[1].items()):
            raise ValueError("the stages began at different times: give both the same opening")
        for mine, theirs in zip(self.criteria, other.criteria, strict=True):
            mine.test.merge(theirs.test)
        for stratum, at in starts[1].items():
            starts[0][stratum] = min(at, starts[0].get(stratum, at))
        self._frozen |= other._frozen
        self.enrolments.merge(other.enrolments)
        self.left_out.update(other.left_out)
        begun = [at for at in (self.started_ns, other.started_ns) if at is not None]
        self.started_ns = min(begun, default=None)

    def observe(self, unit: Unit) -> None:
        """Take one unit into account, or count why not."""
        if unit.policy != self.decision.policy or unit.digest != self.decision.digest:
            self.left_out["of another policy or digest"] += 1
            return
        if unit.stage == SHADOW or unit.arm not in (TREATMENT, BASELINE):
            self.left_out["not exposed"] += 1
            return
        allocation = self._allocation(unit)
        if allocation is None:
            self.left_out["of unknown allocation"] += 1
            return
        stratum = Stratum(unit.stage, allocation)
        started = self._stage_started.setdefault(stratum, unit.first_ns)
        self.started_ns = unit.first_ns if self.started_ns is None else min(self.started_ns, unit.first_ns)
        treatment = unit.arm == TREATMENT
        self.enrolments.add(stratum, treatment=treatment)
        warm = unit.first_ns - started >= self.plan.warmup_s * 1e9
        if not warm:
            self.left_out["in warm-up: kept from means"] += 1
        for criterion, is_mean, positive_only in self._fed:
            if warm or not is_mean:
                self._feed(criterion, stratum, unit, treatment=treatment, positive_only=positive_only)

    def exclude(self, exclusions: Exclusions) -> None:
        """Count units that were seen in both arms; a fault in one of them is still treatment's."""
        for reason, count in exclusions.counts.items():
            self.left_out[reason] += count
        for criterion in self.criteria:
            if criterion.metric == FAULT:
                for _ in range(exclusions.faulted):
                    criterion.test.add(Stratum("", 0.5), 1.0, treatment=True)

    @property
    def units(self) -> tuple[int, int]:
        """Units enrolled in treatment and in baseline."""
        return self.enrolments.totals

    @property
    def mismatch(self) -> bool:
        """Whether units are shown to arrive in another ratio than declared."""
        return log_e_mismatch(self.enrolments) >= threshold(self.plan.sample_ratio_alpha)

    def harmed(self) -> tuple[Criterion, ...]:
        """Return the criteria whose harm is shown."""
        return tuple(criterion for criterion in self._harm_tests if criterion.harmed(self.harm_alpha))

    def conclusion(self, now_ns: int) -> Conclusion:
        """Return what may be concluded now."""
        if any(criterion.harmed(self.harm_alpha) for criterion in self._harm_tests):
            return Conclusion.WORSE
        total = sum(self.units)
        if total == 0:
            return Conclusion.WAITING
        shown = total >= self.plan.min_units and all(c.satisfied(self.plan.alpha) for c in self.criteria)
        if shown and not self.mismatch:
            return Conclusion.BETTER
        return Conclusion.INCONCLUSIVE if self.at_limit(now_ns) else Conclusion.WAITING

    @property
    def holds_back(self) -> bool:
        """Whether the policy is promoted: what is compared is the hold-back, which no limit ends."""
        return self.decision.stage == ACTIVE

    def at_limit(self, now_ns: int) -> bool:
        """Tell whether the units or the time allowed are used up."""
        if self.holds_back:
            return False
        elapsed_s = (now_ns - self.started_ns) / 1e9 if self.started_ns is not None else 0.0
        return sum(self.units) >= self.plan.max_units or elapsed_s >= self.plan.max_duration_s

    def verdict(self, now_ns: int) -> Verdict:
        """Return the conclusion with everything it rests on."""
        return explanation.verdict(self.look(now_ns))

    def look(self, now_ns: int) -> Look:
        """Return what is counted and concluded now."""
        harmed = self.harmed()
        return Look(
            decision=self.decision,
            plan=self.plan,
            criteria=self.criteria,
            harmed=tuple(any(criterion is one for one in harmed) for criterion in self.criteria),
            harm_alpha=self.harm_alpha,
            enrolments=self.enrolments,
            mismatch=self.mismatch,
            conclusion=self.conclusion(now_ns),
            left_out=dict(self.left_out),
            holds_back=self.holds_back,
        )

    def _begin_with(self, opening: Opening) -> None:
        self._stage_started |= opening.started_ns
        self.started_ns = min(self._stage_started.values(), default=None)
        self._frozen |= opening.frozen
        for criterion in self.criteria:
            if isinstance(criterion.test, (ExceedanceTest, WinsorisedTest)):
                for (metric, stratum), frozen in opening.frozen.items():
                    if metric == criterion.metric:
                        criterion.test.frozen[stratum] = frozen.value

    def _allocation(self, unit: Unit) -> float | None:
        if 0.0 < unit.allocation < 1.0:
            return unit.allocation
        declared = self.decision.allocation.treatment_share
        unknown = math.isnan(unit.allocation)
        return declared if unknown and unit.stage == self.decision.stage and 0.0 < declared < 1.0 else None

    def _feed(
        self, criterion: Criterion, stratum: Stratum, unit: Unit, *, treatment: bool, positive_only: bool
    ) -> None:
        value = unit.values.get(criterion.reads)
        if value is None:
            if criterion.metric != FAULT:
                self.left_out[f"{criterion.metric} absent"] += 1
                return
            value = 0.0
        usable = _LEAST <= value <= _MOST or (value == 0.0 and not positive_only)
        if not usable:
            self.left_out[f"{criterion.metric} not usable"] += 1
            return
        test = criterion.test
        if isinstance(test, (ExceedanceTest, WinsorisedTest)):
            place = (unit.first_ns, unit.unit_id)
            known = self._frozen.get((criterion.metric, stratum))
            # In one process units come in order, and this only ever holds back what helped to freeze the value.
            if known is not None and isinstance(test, ExceedanceTest) and place <= known.place:
                return
            test.add(stratum, value, treatment=treatment)
            self._note_frozen(criterion.metric, test, stratum, place)
            return
        test.add(stratum, value, treatment=treatment)

    def _note_frozen(self, metric: str, test: ExceedanceTest | WinsorisedTest, stratum: Stratum, place: Place) -> None:
        value = test.frozen.get(stratum)
        if value is not None and (metric, stratum) not in self._frozen:
            self._frozen[metric, stratum] = Frozen(value, place)


def comparison_of(
    decision: Decision, plan: ComparisonPlan, units: Iterable[Unit], exclusions: Exclusions | None = None
) -> Comparison:
    """Return the comparison that has observed all units enrolled so far, whatever order they come in."""
    comparison = Comparison(decision, plan)
    for unit in sorted(units, key=lambda one: (one.first_ns, one.unit_id)):
        comparison.observe(unit)
    if exclusions is not None:
        comparison.exclude(exclusions)
    return comparison


def compare(
    decision: Decision,
    plan: ComparisonPlan,
    units: Iterable[Unit],
    now_ns: int,
    exclusions: Exclusions | None = None,
) -> Verdict:
    """Return the verdict on `decision` from all units enrolled so far; the same units give the same verdict.

    Units may come in any order and are processed by `first_ns`. A verdict may be asked for as often
    as one likes: no number of looks raises the error of harm above alpha, nor that of benefit.
    """
    return comparison_of(decision, plan, units, exclusions).verdict(now_ns)
