"""The benchmark's engine for thousands of roll-outs decides as the package does, unit by unit."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from otel_perfopt.verify.comparison import Comparison, ComparisonPlan, Goal, Guardrail
from otel_perfopt.verify.verdict import Conclusion, Unit

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
engine = importlib.import_module("verdicts_vectorised")

PLANS = {
    "all, relative": ComparisonPlan(
        Goal("latency", 0.05),
        (
            Guardrail("task_failure", max_relative=0.5),
            Guardrail("latency_p95_exceed", max_relative=0.2),
            Guardrail("cost_usd", max_relative=0.1),
        ),
        min_units_each=40,
    ),
    "all, absolute": ComparisonPlan(
        Goal("cost_usd", 0.02),
        (Guardrail("task_failure", max_absolute=0.1), Guardrail("latency_p95_exceed", max_absolute=0.1)),
        min_units_each=40,
    ),
    "failures as the goal": ComparisonPlan(Goal("task_failure"), (Guardrail("latency", max_relative=0.1),)),
}
WORLDS = {
    "nothing": (1.0, 1.0, 0.05, 0.05),
    "faster": (0.6, 0.8, 0.05, 0.05),
    "slower": (1.5, 1.0, 0.05, 0.05),
    "failing": (0.8, 1.0, 0.05, 0.25),
    "fewer failures": (1.0, 1.0, 0.3, 0.05),
    "dearer": (0.8, 1.4, 0.05, 0.05),
}


def drawn(world: str, rollouts: int, seed: int):
    latency, cost, failing, failing_treated = WORLDS[world]
    stages = ((0.2, 120), (0.5, 280))
    rng = np.random.default_rng(seed)
    shape = (rollouts, 400)
    shares = np.concatenate([np.full(count, share) for share, count in stages])
    treated = rng.random(shape) < shares
    values = {
        "latency": np.exp(rng.normal(0, 0.4, shape)) * np.where(treated, latency, 1.0),
        "cost_usd": rng.pareto(2.5, shape) * np.where(treated, cost, 1.0) + 0.01,
        "task_failure": (rng.random(shape) < np.where(treated, failing_treated, failing)) * 1.0,
    }
    return engine.Draws(stages, treated, values)


def streamed(draws, row: int, plan: ComparisonPlan, decision) -> tuple[int, int]:
    """When the package's own comparison is worse and when better, asked after every unit."""
    comparison, seen = Comparison(decision, plan), {}
    index = 0
    for stage, (share, count) in enumerate(draws.stages, start=1):
        for _ in range(count):
            arm = "treatment" if draws.treated[row, index] else "baseline"
            values = {name: float(drawn_values[row, index]) for name, drawn_values in draws.values.items()}
            comparison.observe(Unit(f"u{index}", "p", "d", f"canary-{stage}", arm, share, index, values))
            index += 1
            seen.setdefault(comparison.conclusion(index), index)
    return seen.get(Conclusion.WORSE, engine.NEVER), seen.get(Conclusion.BETTER, engine.NEVER)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("world", WORLDS)
def test_the_engine_is_the_package(simulation, plan, world):
    """In every world and under every plan the first unit at which each conclusion is drawn is the same."""
    draws = drawn(world, 3, seed=list(WORLDS).index(world))
    decided = engine.judge(draws, PLANS[plan])
    for row in range(3):
        worse, better = streamed(draws, row, PLANS[plan], simulation.DECISION)
        assert decided.worse[row] == worse
        # Once harm is shown the package no longer asks for benefit; before that, the two agree.
        assert decided.better[row] == better or (better == engine.NEVER and decided.better[row] >= worse)
