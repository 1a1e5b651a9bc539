"""Simulated roll-outs, thousands a cell, judged after every unit: error rates and delays of the verdicts out.

python benchmarks/verdicts.py                 # everything at moderate size, about two minutes
python benchmarks/verdicts.py --full          # everything, ten times as many roll-outs
python benchmarks/verdicts.py aa --rollouts 500

Roll-outs are judged in batches (verdicts_vectorised.py), by the package's own tests; those one unit
at a time, as the controller does it, are what the tests and `demo` use.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import binomtest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import verdicts_duel
from verdicts_vectorised import Decided, Draws, judge

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.loop.plan import comparison_plan
from otel_perfopt.verify.comparison import Comparison, ComparisonPlan, Goal, Guardrail
from otel_perfopt.verify.evidence import Stratum
from otel_perfopt.verify.verdict import Conclusion, Unit

DECISION = Decision("p", "d", "tool_cache", "canary-1", Allocation(0.5, 0.5))
SECOND_NS = 1_000_000_000
BATCH = 250
WORKERS = Parallel(n_jobs=-1, backend="loky")
NULL_POLICY = {
    "apiVersion": "perfopt.dev/v1",
    "kind": "OptimizationPolicy",
    "metadata": {"name": "nothing"},
    "spec": {
        "match": {"command": ["/query"]},
        "optimize": {"type": "parallel_tools"},
        "goal": {"metric": "latency", "improve": "10%"},
    },
}


@dataclass(frozen=True)
class World:
    """What is true in a simulated roll-out; effects are treatment over baseline, 1 = none."""

    stages: tuple[tuple[float, int], ...] = ((0.5, 400),)
    latency_effect: float = 1.0
    cost_effect: float = 1.0
    failure_baseline: float = 0.05
    failure_treatment: float | None = None
    latency_sd: float = 0.35
    cost_sd: float = 0.25
    drift: Callable[[float], float] = field(default=lambda _progress: 1.0)
    heavy_tails: bool = False


def swing(progress: float) -> float:
    """Base level up and down by 80 % twice in a roll-out."""
    return 1.0 + 0.8 * math.sin(4 * math.pi * progress)


def climb(progress: float) -> float:
    """Base level from −80 % to +80 % in a roll-out."""
    return 0.2 + 1.6 * progress


def units(world: World, rng: random.Random) -> Iterator[Unit]:
    """Yield the units of one roll-out in order."""
    total = sum(count for _, count in world.stages)
    index = 0
    for stage, (allocation, count) in enumerate(world.stages, start=1):
        for _ in range(count):
            level = world.drift(index / total)
            yield _unit(world, rng, index, level, Stratum(f"canary-{stage}", allocation))
            index += 1


def _unit(world: World, rng: random.Random, index: int, level: float, stratum: Stratum) -> Unit:
    treated = rng.random() < stratum.allocation
    failure = world.failure_baseline * level
    if treated and world.failure_treatment is not None:
        failure = world.failure_treatment
    values = {
        "latency": 3.0 * level * _noise(world, rng, world.latency_sd) * (world.latency_effect if treated else 1.0),
        "cost_usd": 0.02 * level * _noise(world, rng, world.cost_sd) * (world.cost_effect if treated else 1.0),
        "task_failure": float(rng.random() < failure),
    }
    arm = "treatment" if treated else "baseline"
    return Unit(f"u{index}", "p", "d", stratum.stage, arm, stratum.allocation, index * SECOND_NS, values)


def _noise(world: World, rng: random.Random, sd: float) -> float:
    if world.heavy_tails:
        return rng.paretovariate(2.2)  # finite mean and barely finite variance
    return math.exp(rng.gauss(0.0, sd))


@dataclass(frozen=True)
class Outcome:
    """How one roll-out ended: the verdict, what was harmed, and the units it took."""

    conclusion: Conclusion
    harmed: tuple[str, ...]
    units: int
    treatment_units: int


def roll_out(world: World, plan: ComparisonPlan, rng: random.Random, first_look: int = 1) -> Outcome:
    """Run one roll-out with a look after every unit, until there is a verdict or no more units."""
    comparison = Comparison(DECISION, plan)
    seen = 0
    conclusion = Conclusion.WAITING
    for seen, unit in enumerate(units(world, rng), start=1):
        comparison.observe(unit)
        conclusion = comparison.conclusion(unit.first_ns) if seen >= first_look else conclusion
        if conclusion is not Conclusion.WAITING:
            break
    harmed = tuple(criterion.metric for criterion in comparison.harmed())
    return Outcome(conclusion, harmed, seen, comparison.units[0])


def many(world: World, plan: ComparisonPlan, rollouts: int, seed: int, label: str = "") -> list[Outcome]:
    """Run many roll-outs with seeds of their own, with a progress line."""
    outcomes = []
    for number in range(rollouts):
        outcomes.append(roll_out(world, plan, random.Random(f"{seed}/{number}")))
        if label and sys.stderr.isatty() and number % 20 == 0:
            print(f"\r{label}: {number}/{rollouts}   ", end="", file=sys.stderr, flush=True)
    if label and sys.stderr.isatty():
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
    return outcomes


def share(outcomes: Sequence[Outcome], conclusion: Conclusion) -> float:
    """Return the share of roll-outs that ended so."""
    return sum(outcome.conclusion is conclusion for outcome in outcomes) / len(outcomes)


def upper_bound(rate: float, count: int, z: float = 2.0) -> float:
    """Return the Wilson upper bound of a rate: two standard errors, about 97.5 % one-sided."""
    centre = rate + z * z / (2 * count)
    spread = z * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    return (centre + spread) / (1 + z * z / count)


def quantiles(values: Sequence[int], points: Sequence[float] = (0.1, 0.5, 0.9, 0.95)) -> str:
    """Return quantiles of a list as text; a dash without values."""
    ordered = sorted(values)
    if not ordered:
        return "–"
    return " / ".join(str(ordered[min(len(ordered) - 1, int(point * len(ordered)))]) for point in points)


# --- What is asked ------------------------------------------------------------------------------

# Every tolerance at zero: with no effect each hypothesis holds on its edge, where errors are largest.
SHARP = ComparisonPlan(
    Goal("latency", improve=0.0),
    (
        Guardrail("task_failure", max_relative=0.0),
        Guardrail("latency_p95_exceed", max_relative=0.0),
        Guardrail("cost_usd", max_relative=0.0),
    ),
)
GOAL_ONLY = ComparisonPlan(Goal("latency", improve=0.0))
GOAL_COST = ComparisonPlan(Goal("cost_usd", improve=0.0))
GOAL_FAILURE = ComparisonPlan(Goal("task_failure", improve=0.0))
DIFFERENCE = ComparisonPlan(Goal("task_failure", improve_absolute=0.0))

RAMP = ((0.05, 200), (0.2, 200), (0.5, 400))
AA_WORLDS = {
    "50/50": World(stages=((0.5, 800),)),
    "5/95": World(stages=((0.05, 800),)),
    "ramp 5, 20, 50 %": World(stages=RAMP),
    "ramp, swing ±80 %": World(stages=RAMP, drift=swing),
    "ramp, climb ±80 %": World(stages=RAMP, drift=climb),
    "50/50, Pareto 2.2": World(stages=((0.5, 800),), heavy_tails=True),
    "ramp, swing, Pareto": World(stages=RAMP, drift=swing, heavy_tails=True),
}
AA_PLANS = {
    "all at zero": SHARP,
    "latency": GOAL_ONLY,
    "cost": GOAL_COST,
    "failure, ratio": GOAL_FAILURE,
    "failure, difference": DIFFERENCE,
}

DEMO_GUARDRAILS = {
    "failure +10 points": (Guardrail("task_failure", max_absolute=0.10),),
    "failure +12 points": (Guardrail("task_failure", max_absolute=0.12),),
    "failure +15 points": (Guardrail("task_failure", max_absolute=0.15),),
    "failure +50 %": (Guardrail("task_failure", max_relative=0.50),),
    "cost +5 %": (Guardrail("cost_usd", max_relative=0.05),),
    "cost +10 %": (Guardrail("cost_usd", max_relative=0.10),),
    "cost +15 %": (Guardrail("cost_usd", max_relative=0.15),),
    "cost +20 %": (Guardrail("cost_usd", max_relative=0.20),),
    "p95 +50 %": (Guardrail("latency_p95_exceed", max_relative=0.50),),
    "p95 +100 %": (Guardrail("latency_p95_exceed", max_relative=1.0),),
    "p95 +5 points": (Guardrail("latency_p95_exceed", max_absolute=0.05),),
    "p95 +10 points": (Guardrail("latency_p95_exceed", max_absolute=0.10),),
    "p95 +15 points": (Guardrail("latency_p95_exceed", max_absolute=0.15),),
    "cost +15 % and more": (
        Guardrail("task_failure", max_absolute=0.15),
        Guardrail("cost_usd", max_relative=0.15),
        Guardrail("latency_p95_exceed", max_absolute=0.10),
    ),
    "cost +20 % and more": (
        Guardrail("task_failure", max_absolute=0.15),
        Guardrail("cost_usd", max_relative=0.20),
        Guardrail("latency_p95_exceed", max_absolute=0.10),
    ),
}


def drawn(world: World, rollouts: int, seed: int) -> Draws:
    """Draw many roll-outs of a world at once."""
    rng = np.random.default_rng(seed)
    count = sum(units for _, units in world.stages)
    shape = (rollouts, count)
    shares = np.concatenate([np.full(units, share) for share, units in world.stages])
    treated = rng.random(shape) < shares
    level = np.array([world.drift(index / count) for index in range(count)])

    def skewed(mean: float, sd: float, effect: float) -> np.ndarray:
        noise = rng.pareto(2.2, shape) + 1 if world.heavy_tails else np.exp(rng.normal(0, sd, shape))
        return mean * level * noise * np.where(treated, effect, 1.0)

    failing = world.failure_baseline * level
    in_treatment = failing if world.failure_treatment is None else world.failure_treatment
    values = {
        "latency": skewed(3.0, world.latency_sd, world.latency_effect),
        "cost_usd": skewed(0.02, world.cost_sd, world.cost_effect),
        "tokens": skewed(4000.0, world.cost_sd, world.cost_effect),
        "task_failure": (rng.random(shape) < np.where(treated, in_treatment, failing)) * 1.0,
    }
    return Draws(world.stages, treated, values)


def judged(world: World, plan: ComparisonPlan, rollouts: int, seed: int) -> Decided:
    """Judge many roll-outs of a world, in batches over all cores."""
    sizes = [min(BATCH, rollouts - begin) for begin in range(0, rollouts, BATCH)]
    parts = WORKERS(
        delayed(lambda size, number: judge(drawn(world, size, seed * 100_000 + number), plan))(size, number)
        for number, size in enumerate(sizes)
    )
    return Decided(
        *(np.concatenate(column) for column in zip(*((p.worse, p.better, p.treated) for p in parts), strict=True))
    )


def exact_interval(happened: np.ndarray) -> str:
    """Return a share with its 95 % Clopper–Pearson interval."""
    found = binomtest(int(happened.sum()), len(happened)).proportion_ci(0.95, method="exact")
    return f"{happened.mean():.2%} ({found.low:.2%} to {found.high:.2%})"


def upper_end(happened: np.ndarray) -> float:
    """Return the upper end of that interval."""
    found = binomtest(int(happened.sum()), len(happened)).proportion_ci(0.95, method="exact")
    return float(found.high)


def false_verdicts(rollouts: int) -> None:
    """A/A: nothing differs, and every look could be the wrong one."""
    print(
        f"\nA/A: no effect, a look after each of 800 units, {rollouts} roll-outs a row, alpha 5 %, exact 95 % intervals"
    )
    print(f"{'world':22}{'plan':22}{'false rollback':>26}{'false promotion':>26}")
    ends = []
    for number, (world_name, world) in enumerate(AA_WORLDS.items()):
        for plan_name, plan in AA_PLANS.items():
            found = judged(world, plan, rollouts, 1 + number)
            ends += [upper_end(found.is_worse), upper_end(found.is_better)]
            print(_error_row(world_name, plan_name, found), flush=True)
    print(f"highest upper end of {len(ends)} cells: {max(ends):.2%}, alpha 5 %")


def null_policy(rollouts: int) -> None:
    """A policy that changes nothing, declared with nothing but defaults, on its default way through the steps."""
    policy = OptimizationPolicy.model_validate(NULL_POLICY)
    plan = replace(comparison_plan(policy), warmup_s=0.0)
    plan = replace(plan, guardrails=tuple(guard for guard in plan.guardrails if guard.metric != "fault"))
    stages = ((0.5, 200), (0.5, 2800))
    print(
        f"\nNull policy, all defaults ({', '.join(g.metric for g in plan.guardrails)}), 3,000 units, {rollouts} roll-outs a row"
    )
    print(f"{'world':22}{'goal':22}{'false rollback':>26}{'false promotion':>26}")
    ends = []
    worlds = {
        "50/50": World(stages=stages),
        "swing ±80 %": World(stages=stages, drift=swing),
        "climb ±80 %": World(stages=stages, drift=climb),
        "Pareto 2.2": World(stages=stages, heavy_tails=True),
    }
    for number, (name, world) in enumerate(worlds.items()):
        for improve in (0.0, 0.1):
            asked = replace(plan, goal=Goal("latency", improve))
            found = judged(world, asked, rollouts, 50 + number)
            ends += [upper_end(found.is_worse), upper_end(found.is_better)]
            print(_error_row(name, f"latency −{improve:.0%}", found), flush=True)
    print(f"highest upper end of {len(ends)} cells: {max(ends):.2%}, alpha 5 %")


def _error_row(world: str, plan: str, found: Decided) -> str:
    above = max(found.is_worse.mean(), found.is_better.mean()) > 0.05
    flag = "  above alpha" if above else ""
    return f"{world:22}{plan:22}{exact_interval(found.is_worse):>26}{exact_interval(found.is_better):>26}{flag}"


def harm_delays(rollouts: int) -> None:
    """How many treatment units a harm costs before it is taken back."""
    print(f"\nHarm: treatment units until rollback, 10/50/90/95 % of {rollouts} roll-outs")
    print(f"{'harm':34}{'tolerance':14}{'allocation':>11}{'found':>8}   treatment units")
    cases = {
        "failures 40 % against 3 %": World(failure_baseline=0.03, failure_treatment=0.40),
        "failures 20 % against 3 %": World(failure_baseline=0.03, failure_treatment=0.20),
        "failures 9 % against 3 %": World(failure_baseline=0.03, failure_treatment=0.09),
    }
    tolerances = {
        "+50 %": Guardrail("task_failure", max_relative=0.5),
        "+100 %": Guardrail("task_failure", max_relative=1.0),
        "+5 points": Guardrail("task_failure", max_absolute=0.05),
        "+10 points": Guardrail("task_failure", max_absolute=0.10),
    }
    for name, world in cases.items():
        for tolerance, guardrail in tolerances.items():
            plan = ComparisonPlan(Goal("latency", 0.1), (guardrail, Guardrail("cost_usd", max_relative=0.1)))
            _harm_rows(name, tolerance, world, plan, rollouts)
    for effect in (1.2, 1.5, 2.0):
        plan = ComparisonPlan(Goal("latency", 0.1))
        _harm_rows(f"latency {effect - 1:+.0%}", "none", World(latency_effect=effect), plan, rollouts)


def _harm_rows(name: str, tolerance: str, world: World, plan: ComparisonPlan, rollouts: int) -> None:
    for allocation, count in ((0.5, 1200), (0.05, 4000)):
        found = judged(replace(world, stages=((allocation, count),)), plan, rollouts, 2)
        delays = quantiles(found.treated[found.is_worse].tolist())
        print(f"{name:34}{tolerance:14}{allocation:>11.0%}{found.is_worse.mean():>8.1%}   {delays}", flush=True)


def power(rollouts: int) -> None:
    """Effect × allocation: units until better, means claimed only where arms are balanced."""
    print(f"\nBenefit: units (both arms) until better, 10/50/90/95 % of {rollouts} roll-outs of at most 3,000 units")
    print(
        f"{'latency effect, asked':26}{'log sd':>8}{'allocation':>11}{'better':>9}   units; at 200 and 2,000 units a day"
    )
    for effect, asked in ((0.55, 0.1), (0.65, 0.1), (0.70, 0.1), (0.80, 0.1), (0.85, 0.1), (0.90, 0.0), (0.95, 0.0)):
        for sd in (0.35, 0.8):
            for allocation in (0.35, 0.5):
                world = World(stages=((allocation, 3000),), latency_effect=effect, latency_sd=sd)
                found = judged(world, ComparisonPlan(Goal("latency", asked)), rollouts, 4)
                units = sorted(found.better[found.is_better].tolist())
                days = f"{units[len(units) // 2] / 200:.1f} d, {units[len(units) // 2] / 2000:.1f} d" if units else ""
                name = f"{effect - 1:+.0%}, −{asked:.0%}"
                line = f"{name:26}{sd:>8}{allocation:>11.0%}{found.is_better.mean():>9.1%}"
                print(f"{line}   {quantiles(units)}; {days}", flush=True)


def rivals(rollouts: int) -> None:
    """Ours, gbstats' sequential test and a group-sequential design on the same draws, each at 5 % one-sided."""
    verdicts_duel.duel(min(rollouts, 400), drawn, World)


def demo(rollouts: int) -> None:
    """Which guardrails are held within a demo's traffic: 115 units an arm on average."""
    print(f"\nDemo: share of {rollouts} roll-outs that are better within N units (both arms), 50/50")
    print(f"{'guardrail':20}{'world':34}" + "".join(f"{count:>7}" for count in (200, 220, 240, 260, 300, 400)))
    for name, guardrails in DEMO_GUARDRAILS.items():
        for world_name, world in _demo_worlds(name):
            plan = ComparisonPlan(Goal("latency", 0.1), guardrails, min_units_each=80, target_units=230)
            outcomes = many(replace(world, stages=((0.5, 400),)), plan, rollouts, 5, name)
            found = [outcome.units for outcome in outcomes if outcome.conclusion is Conclusion.BETTER]
            shares = (sum(one <= count for one in found) / rollouts for count in (200, 220, 240, 260, 300, 400))
            print(f"{name:20}{world_name:34}" + "".join(f"{one:>7.0%}" for one in shares), flush=True)


def _demo_worlds(guardrail: str) -> list[tuple[str, World]]:
    if guardrail.startswith("cost"):
        return [(f"cost sd {sd:.0%}", World(latency_effect=0.65, cost_sd=sd)) for sd in (0.2, 0.3)]
    if guardrail.startswith("failure"):
        return [
            (f"failures {rate:.0%} in both", World(latency_effect=0.65, failure_baseline=rate)) for rate in (0.03, 0.06)
        ]
    return [(f"latency {effect - 1:+.0%}", World(latency_effect=effect)) for effect in (0.55, 0.70)]


PARTS = {"aa": false_verdicts, "null": null_policy, "harm": harm_delays, "power": power, "rivals": rivals, "demo": demo}
STREAMED = frozenset({"demo"})
USUAL = ("aa", "null", "harm", "power", "rivals")
DEFAULT_ROLLOUTS, FULL_ROLLOUTS, STREAMED_ROLLOUTS = 1000, 10_000, 100


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)}; all but demo without")
    parser.add_argument("--rollouts", type=int, help=f"a cell; {DEFAULT_ROLLOUTS} if not given")
    parser.add_argument("--full", action="store_true", help=f"{FULL_ROLLOUTS} roll-outs a cell")
    arguments = parser.parse_args()
    rollouts = arguments.rollouts or (FULL_ROLLOUTS if arguments.full else DEFAULT_ROLLOUTS)
    for name in arguments.parts or USUAL:
        started = time.monotonic()
        PARTS[name](min(rollouts, STREAMED_ROLLOUTS) if name in STREAMED else rollouts)
        print(f"({name}: {time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
