"""Whole comparisons: what they conclude from planted truth, and what they refuse to."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision
from otel_perfopt.verify.comparison import Comparison, ComparisonPlan, Goal, Guardrail, compare
from otel_perfopt.verify.units import Exclusions
from otel_perfopt.verify.verdict import Conclusion, Unit

DECISION = Decision("p", "d", "tool_cache", "canary-1", Allocation(0.5, 0.5))
PLAN = ComparisonPlan(
    Goal("latency", 0.1),
    (Guardrail("task_failure", max_absolute=0.1), Guardrail("cost_usd", max_relative=0.2)),
)
S = 1_000_000_000


def unit(index: int, *, treatment: bool | None = None, **values: float) -> Unit:
    treated = index % 2 == 0 if treatment is None else treatment
    arm = "treatment" if treated else "baseline"
    return Unit(f"u{index}", "p", "d", "canary-1", arm, 0.5, index * S, values)


def traffic(count: int, *, effect: float = 0.65, failing: float = 0.04, seed: int = 1) -> list[Unit]:
    rng = random.Random(seed)
    made = []
    for index in range(count):
        treated = rng.random() < 0.5
        made.append(
            unit(
                index,
                treatment=treated,
                latency=math.exp(rng.gauss(0, 0.35)) * (effect if treated else 1.0),
                cost_usd=math.exp(rng.gauss(0, 0.2)),
                task_failure=float(rng.random() < (failing if treated else 0.04)),
            )
        )
    return made


def test_no_data_is_waiting_even_past_the_limit():
    """Without units there is neither success nor failure, however late it is."""
    verdict = compare(DECISION, PLAN, [], 10**30)
    assert verdict.conclusion is Conclusion.WAITING
    assert "No unit" in verdict.reason


def test_a_planted_improvement_is_better():
    """−35 % latency at equal cost and failures is better, with its interval, counts and guardrails in the verdict."""
    verdict = compare(DECISION, PLAN, traffic(400), 400 * S)
    assert verdict.conclusion is Conclusion.BETTER
    goal = verdict.metrics[0]
    assert goal.role == "goal"
    assert goal.effect is not None
    assert goal.effect.low < -0.35 < goal.effect.high < -0.1
    assert all(result.held and not result.harmed for result in verdict.metrics)
    assert verdict.treatment_units + verdict.baseline_units == 400
    assert str(verdict.treatment_units) in verdict.reason
    assert "latency" in verdict.reason


def test_a_planted_harm_is_worse_and_named():
    """Failures of 40 % against 4 % are harm, whatever the latency gained."""
    verdict = compare(DECISION, PLAN, traffic(200, failing=0.4), 200 * S)
    assert verdict.conclusion is Conclusion.WORSE
    assert "task_failure" in verdict.reason
    harmed = [result for result in verdict.metrics if result.harmed]
    assert [result.metric for result in harmed] == ["task_failure"]
    assert harmed[0].e_value is not None
    assert harmed[0].threshold is not None
    assert harmed[0].e_value >= harmed[0].threshold


def test_no_effect_waits_and_ends_inconclusive():
    """With no improvement to be had the verdict waits, and is inconclusive at the limit of units or of time."""
    units = traffic(400, effect=1.0)
    assert compare(DECISION, PLAN, units, 400 * S).conclusion is Conclusion.WAITING
    assert compare(DECISION, replace(PLAN, max_units=400), units, 400 * S).conclusion is Conclusion.INCONCLUSIVE
    late = compare(DECISION, PLAN, units, int(PLAN.max_duration_s * S))
    assert late.conclusion is Conclusion.INCONCLUSIVE
    assert "latency" in late.would_change


def test_an_improvement_smaller_than_asked_is_not_better():
    """−35 % is not the −40 % that the goal asks for."""
    plan = replace(PLAN, goal=Goal("latency", 0.4))
    assert compare(DECISION, plan, traffic(2000), 2000 * S).conclusion is Conclusion.WAITING


def test_harm_to_a_guardrail_of_means_is_worse():
    """A cost of +60 % beyond a tolerance of 20 % is harm."""
    units = [
        replace(one, values={**one.values, "cost_usd": one.values["cost_usd"] * (1.6 if one.arm == "treatment" else 1)})
        for one in traffic(300)
    ]
    assert "cost_usd" in compare(DECISION, PLAN, units, 300 * S).reason


def test_a_slow_treatment_is_worse_by_the_goal_itself():
    """A goal that got worse is harm, without a guardrail for it."""
    assert compare(DECISION, PLAN, traffic(200, effect=1.6), 200 * S).conclusion is Conclusion.WORSE


def test_the_same_data_in_any_order_give_the_same_verdict():
    """A verdict depends on the units alone: not on their order, nor on how often one looked."""
    units = traffic(250)
    shuffled = list(units)
    random.Random(2).shuffle(shuffled)
    looked = Comparison(DECISION, PLAN)
    for one in units:
        looked.observe(one)
        looked.conclusion(one.first_ns)
    assert compare(DECISION, PLAN, shuffled, 250 * S) == compare(DECISION, PLAN, units, 250 * S)
    assert looked.verdict(250 * S) == compare(DECISION, PLAN, iter(units), 250 * S)


def test_a_sample_ratio_mismatch_blocks_better():
    """When a third of treatment's units are lost, nothing is claimed, and the reason says so."""
    units = [one for one in traffic(600) if one.arm == "baseline" or one.first_ns // S % 3]
    verdict = compare(DECISION, PLAN, units, 600 * S)
    assert verdict.conclusion is Conclusion.WAITING
    assert "do not arrive as allocated" in verdict.reason


def test_a_fault_of_ours_is_harm_at_once():
    """One treatment unit with an exception of ours ends the trial where none is tolerated; baseline's does not."""
    plan = replace(PLAN, guardrails=(Guardrail("fault", max_absolute=0),))
    assert compare(DECISION, plan, [unit(0, fault=1.0)], S).conclusion is Conclusion.WORSE
    assert compare(DECISION, plan, [unit(1, fault=1.0)], S).conclusion is Conclusion.WAITING
    mixed = Exclusions({"seen in both arms": 1}, faulted=1)
    assert compare(DECISION, plan, [unit(1)], S, mixed).conclusion is Conclusion.WORSE


def test_benefit_needs_balanced_arms_and_enough_of_each():
    """At 5 % treatment no benefit is claimed on means, however many units; harm still is."""
    rng = random.Random(4)

    def lopsided(effect: float) -> list[Unit]:
        made = [unit(index, treatment=rng.random() < 0.05) for index in range(4000)]
        return [
            replace(
                one,
                allocation=0.05,
                values={"latency": math.exp(rng.gauss(0, 0.3)) * (effect if one.arm == "treatment" else 1.0)},
            )
            for one in made
        ]

    plan = ComparisonPlan(Goal("latency", 0.1))
    assert compare(DECISION, plan, lopsided(0.4), 4000 * S).conclusion is Conclusion.WAITING
    assert compare(DECISION, plan, lopsided(2.0), 4000 * S).conclusion is Conclusion.WORSE


def test_more_is_better_for_satisfaction():
    """A goal of which more is better is reached by more, harmed by less, and guarded against a drop."""
    rng = random.Random(8)

    def rated(level: float) -> list[Unit]:
        return [
            unit(index, satisfaction=min(1.0, max(0.0, rng.gauss(0.6 if index % 2 else level, 0.15))))
            for index in range(600)
        ]

    goal = ComparisonPlan(Goal("satisfaction", 0.1))
    assert compare(DECISION, goal, rated(0.8), 600 * S).conclusion is Conclusion.BETTER
    assert compare(DECISION, goal, rated(0.4), 600 * S).conclusion is Conclusion.WORSE
    guard = ComparisonPlan(Goal("tokens"), (Guardrail("satisfaction", max_absolute=0.1),))
    assert compare(DECISION, guard, rated(0.35), 600 * S).conclusion is Conclusion.WORSE
    assert compare(DECISION, guard, rated(0.6), 600 * S).metrics[1].held


def test_a_score_of_nothing_but_zeros_is_harm():
    """Where treatment earns zero throughout there is no ratio to take, and still it is worse; a rare score is not."""
    plan = ComparisonPlan(Goal("tokens"), (Guardrail("satisfaction", max_relative=0.2),))
    hated = [unit(index, satisfaction=float(index % 2)) for index in range(300)]
    assert compare(DECISION, plan, hated, 300 * S).conclusion is Conclusion.WORSE
    rare = [unit(index, satisfaction=float(index in {11, 101})) for index in range(300)]
    assert compare(DECISION, plan, rare, 300 * S).conclusion is Conclusion.WAITING


def test_p95_is_frozen_before_it_is_counted_against():
    """The first baseline units set the p95 and are not counted; a much slower tail is then harm."""
    rng = random.Random(6)
    plan = ComparisonPlan(
        Goal("cost_usd"), (Guardrail("latency_p95_exceed", max_relative=0.5),), freeze_units=40, warmup_s=0
    )
    slow_tail = [
        unit(index, latency=math.exp(rng.gauss(0, 0.3)) * (4 if index % 2 == 0 and rng.random() < 0.4 else 1))
        for index in range(400)
    ]
    verdict = compare(DECISION, plan, slow_tail, 400 * S)
    assert verdict.conclusion is Conclusion.WORSE
    assert verdict.metrics[1].baseline_units == 160


def test_warm_up_is_kept_from_means_but_not_from_failures():
    """Cold starts do not count as latency; failures during them do."""
    plan = replace(PLAN, warmup_s=100.0)
    verdict = compare(DECISION, plan, traffic(150), 150 * S)
    assert verdict.metrics[0].treatment_units + verdict.metrics[0].baseline_units == 50
    assert verdict.metrics[1].treatment_units + verdict.metrics[1].baseline_units == 150
    assert verdict.left_out["in warm-up: kept from means"] == 100


def test_other_digests_shadow_and_unknown_allocations_are_left_out_and_counted():
    """Only exposed units of this digest with a known allocation are compared."""
    one = unit(0, latency=1.0)
    units = [
        replace(one, digest="other"),
        replace(one, stage="shadow"),
        replace(one, arm=""),
        replace(one, stage="canary-7", allocation=math.nan),
        replace(one, allocation=1.0),
        replace(one, allocation=math.nan),
    ]
    verdict = compare(DECISION, PLAN, units, S)
    assert verdict.treatment_units == 1  # the last: its stage is the decision's own
    assert verdict.left_out["of another policy or digest"] == 1
    assert verdict.left_out["not exposed"] == 2
    assert verdict.left_out["of unknown allocation"] == 2


STRANGE = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 0.0, 1e308, 5e-324, 1.0, 0.5])


@given(
    st.lists(
        st.tuples(st.booleans(), st.dictionaries(st.sampled_from(["latency", "cost_usd", "task_failure"]), STRANGE)),
        max_size=80,
    )
)
@example([(number % 2 == 0, {"cost_usd": 1e308}) for number in range(80)])
@example([(number % 2 == 0, {"cost_usd": 5e-324 if number % 4 else 1e308}) for number in range(80)])
def test_strange_values_are_counted_and_never_crash(rows):
    """NaN, infinities, negative, denormal, huge and absent values give a verdict; what was unusable is counted."""
    plan = replace(PLAN, freeze_units=2, min_units=1, min_units_each=1)
    units = [unit(index, treatment=treatment, **values) for index, (treatment, values) in enumerate(rows)]
    verdict = compare(DECISION, plan, units, S)
    absent = sum("latency" not in values for _, values in rows)
    unusable = sum("latency" in v and not 1e-100 <= v["latency"] <= 1e100 for _, v in rows)
    assert verdict.left_out.get("latency absent", 0) == absent
    assert verdict.left_out.get("latency not usable", 0) == unusable


def test_plans_are_checked():
    """A guardrail has exactly one tolerance, and numbers are in range."""
    with pytest.raises(ValueError, match="either max_relative or max_absolute"):
        Guardrail("tokens")
    with pytest.raises(ValueError, match="improve"):
        Goal("latency", 1.0)
    with pytest.raises(ValueError, match="alpha"):
        replace(PLAN, alpha=0.7)
    with pytest.raises(ValueError, match="once"):
        replace(PLAN, guardrails=(Guardrail("tokens", 0.1), Guardrail("tokens", 0.2)))


@pytest.mark.parametrize("world", ["50/50", "ramp, climb ±80 %", "ramp, swing, Pareto"])
def test_nothing_happens_where_nothing_differs(simulation, world):
    """A/A with every tolerance at zero and a look at every unit: false rollbacks at most alpha."""
    outcomes = simulation.many(simulation.AA_WORLDS[world], simulation.SHARP, 50, seed=7)
    assert simulation.share(outcomes, Conclusion.BETTER) == 0.0
    assert simulation.share(outcomes, Conclusion.WORSE) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 50)


@pytest.mark.parametrize("plan", ["latency", "cost", "failure, ratio", "failure, difference"])
def test_no_goal_is_reached_where_nothing_differs(simulation, plan):
    """A/A on a drifting ramp: each goal alone, improvement by anything, is claimed in at most alpha of the trials."""
    world = simulation.AA_WORLDS["ramp, climb ±80 %"]
    outcomes = simulation.many(world, simulation.AA_PLANS[plan], 80, seed=8)
    assert simulation.share(outcomes, Conclusion.BETTER) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 80)
    assert simulation.share(outcomes, Conclusion.WORSE) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 80)


def test_a_stale_cache_is_found_within_tens_of_units(simulation):
    """Failures of 40 % against 3 % are always found, in the median after fewer than 50 treatment units."""
    world = simulation.World(stages=((0.5, 400),), failure_baseline=0.03, failure_treatment=0.4)
    plan = ComparisonPlan(Goal("latency", 0.1), (Guardrail("task_failure", max_relative=0.5),))
    outcomes = simulation.many(world, plan, 100, seed=9)
    delays = sorted(outcome.treatment_units for outcome in outcomes)
    assert simulation.share(outcomes, Conclusion.WORSE) == 1.0
    assert delays[50] < 45
    assert delays[95] < 90
