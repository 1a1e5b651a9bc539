"""One goal or guardrail with its test: a plan's line in, whether it is harmed, held or reached out."""

from __future__ import annotations

from dataclasses import dataclass

from otel_perfopt.verify.comparison_plan import ComparisonPlan, Goal, Guardrail
from otel_perfopt.verify.confidence_sequence import Scale
from otel_perfopt.verify.frozen_value import ExceedanceTest, WinsorisedTest
from otel_perfopt.verify.metric_kind import MetricKind, Test, metric_kind
from otel_perfopt.verify.metric_test import DifferenceTest, FaultTest, MeanTest, MetricTest, RatioTest
from otel_perfopt.verify.rate_difference import OutcomeCounts
from otel_perfopt.verify.spread_test import SpreadTest

GOAL = "goal"
GUARDRAIL = "guardrail"


@dataclass(slots=True)
class Criterion:
    """What one metric must show.

    `harm_limit` and `benefit_limit` are changes of treatment against baseline in the metric's own
    direction: a guardrail is harmed beyond its tolerance and held short of it (one limit); a goal
    is harmed beyond no change, and reached beyond the required improvement.
    """

    metric: str
    role: str
    reads: str
    higher_is_better: bool
    harm_limit: float
    benefit_limit: float
    test: MetricTest

    @property
    def positive_only(self) -> bool:
        """Whether a value of zero cannot be used (no logarithm, no floor)."""
        if isinstance(self.test, SpreadTest):
            return True
        return isinstance(self.test, MeanTest) and self.test.scale is Scale.LOG and self.test.floor <= 0.0

    @property
    def outcomes(self) -> OutcomeCounts | None:
        """What happened in each arm, where the metric is about events."""
        test = self.test.inner if isinstance(self.test, ExceedanceTest) else self.test
        return test.outcomes if isinstance(test, (RatioTest, DifferenceTest)) else None

    @property
    def means(self) -> bool:
        """Whether the test is about means, which cold starts distort."""
        return isinstance(self.test, (MeanTest, WinsorisedTest, SpreadTest))

    def harmed(self, alpha: float) -> bool:
        """Tell whether the change to the bad has been shown to go beyond the limit."""
        shown = self.test.below if self.higher_is_better else self.test.above
        return shown(self.harm_limit, alpha, benefit=False)

    def satisfied(self, alpha: float) -> bool:
        """Tell whether the guardrail holds, or the goal is reached."""
        shown = self.test.above if self.higher_is_better else self.test.below
        return shown(self.benefit_limit, alpha, benefit=True)

    def log_e_harm(self) -> float | None:
        """Return the harm test's evidence, where it has such a number."""
        return self.test.log_e(self.harm_limit, above=not self.higher_is_better)


def goal_criterion(goal: Goal, plan: ComparisonPlan) -> Criterion:
    """Return the goal as a criterion: any shown change to the bad is harm."""
    kind = metric_kind(goal.metric)
    higher = _direction(goal.higher_is_better, kind)
    absolute = goal.improve_absolute is not None
    required = goal.improve if goal.improve_absolute is None else goal.improve_absolute
    limit = required if higher else -required
    test = _test(kind, plan, goal.metric, absolute=absolute)
    return Criterion(goal.metric, GOAL, kind.reads or goal.metric, higher, 0.0, limit, test)


def guardrail_criterion(guardrail: Guardrail, plan: ComparisonPlan) -> Criterion:
    """Return a guardrail as a criterion."""
    kind = metric_kind(guardrail.metric)
    higher = _direction(guardrail.higher_is_better, kind)
    limit = -guardrail.tolerance if higher else guardrail.tolerance
    test = _test(kind, plan, guardrail.metric, absolute=guardrail.max_absolute is not None)
    return Criterion(guardrail.metric, GUARDRAIL, kind.reads or guardrail.metric, higher, limit, limit, test)


def _direction(given: bool | None, kind: MetricKind) -> bool:
    return kind.higher_is_better if given is None else given


def _test(kind: MetricKind, plan: ComparisonPlan, metric: str, *, absolute: bool) -> MetricTest:
    frozen = plan.frozen.get(metric)
    if kind.test is Test.FAULT:
        return FaultTest()
    if kind.test is Test.EVENT:
        return DifferenceTest() if absolute else RatioTest()
    if kind.test is Test.EXCEEDANCE:
        return ExceedanceTest(DifferenceTest() if absolute else RatioTest(), plan.freeze_units, frozen)
    if kind.test is Test.SPREAD:
        return SpreadTest(plan.target_units)
    if kind.test is Test.LOG_MEAN and not absolute:
        return MeanTest(Scale.LOG, plan.min_units_each, kind.floor, plan.target_units)
    inner = MeanTest(Scale.DIFFERENCE if absolute else Scale.RATIO, plan.min_units_each, target_units=plan.target_units)
    return inner if kind.bounded else WinsorisedTest(inner, plan.freeze_units, frozen)
