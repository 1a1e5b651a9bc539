"""Expected sizes against simulated roll-outs."""

from __future__ import annotations

import pytest

from otel_perfopt.verify.comparison import ComparisonPlan, Goal, Guardrail
from otel_perfopt.verify.plan_size import Expectation, plan_size
from otel_perfopt.verify.verdict import Conclusion

CASES = {
    "latency": (
        ComparisonPlan(Goal("latency", 0.1)),
        {"latency": Expectation(change=-0.2, spread=0.5)},
        {"latency_effect": 0.8, "latency_sd": 0.5},
    ),
    "failure margin": (
        ComparisonPlan(Goal("latency", 0.1), (Guardrail("task_failure", max_absolute=0.06),)),
        {"latency": Expectation(change=-0.5), "task_failure": Expectation(rate=0.05)},
        {"latency_effect": 0.5, "failure_baseline": 0.05},
    ),
    "failure ratio": (
        ComparisonPlan(Goal("latency", 0.1), (Guardrail("task_failure", max_relative=1.0),)),
        {"latency": Expectation(change=-0.5), "task_failure": Expectation(rate=0.2)},
        {"latency_effect": 0.5, "failure_baseline": 0.2},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_expected_size_is_about_the_simulated_median(simulation, case):
    """Half of 80 simulated roll-outs are better before about the expected number of units."""
    plan, expected, truth = CASES[case]
    size = plan_size(plan, expected, units_per_day=100, enrolled_share=0.5)
    assert size.units is not None
    assert size.days == pytest.approx(size.units / 50)
    world = simulation.World(stages=((0.5, 5 * size.units),), **truth)
    outcomes = simulation.many(world, plan, 80, seed=12)
    found = sorted(outcome.units for outcome in outcomes if outcome.conclusion is Conclusion.BETTER)
    assert len(found) > 60
    assert 0.7 * size.units <= found[len(found) // 2] <= 1.35 * size.units


def test_what_cannot_be_shown_has_no_size():
    """An effect smaller than asked for, or no effect at all, is out of reach, and named."""
    plan = ComparisonPlan(Goal("latency", 0.1), (Guardrail("cost_usd", max_relative=0.1),))
    size = plan_size(plan, {"latency": Expectation(change=-0.05)}, 1000)
    assert size.units is None
    assert size.days is None
    assert size.slowest == "latency"
    assert size.by_metric["cost_usd"] is not None


def test_uneven_arms_and_tighter_margins_take_longer():
    """Fewer treatment units, or a smaller tolerance, never make a trial shorter."""
    expected = {"latency": Expectation(change=-0.3)}
    loose = ComparisonPlan(Goal("latency", 0.1), (Guardrail("cost_usd", max_relative=0.1),))
    tight = ComparisonPlan(Goal("latency", 0.1), (Guardrail("cost_usd", max_relative=0.05),))
    sizes = [
        plan_size(loose, expected, 100).units,
        plan_size(loose, expected, 100, treatment_share=0.35).units,
        plan_size(tight, expected, 100).units,
    ]
    assert all(size is not None for size in sizes)
    assert sizes[0] < sizes[1]
    assert sizes[0] < sizes[2]
