"""Adaptive execution against planted truth: seeds in, tables of regret, flapping, tuning and budgets out.

    python benchmarks/adaptive.py            # about two minutes

Everything is the code that the controller runs (`verify/strategy_race.py`, `verify/value_race.py`,
`decide/early_budget.py`, `act/early_budget.py`); only the agents are simulated: one conversation every two
seconds, lognormal times with a spread of 0.4.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from scipy.stats import beta, chi2

from otel_perfopt.act.clock import Clock
from otel_perfopt.act.early_budget import EarlyBudgets
from otel_perfopt.decide.early_budget import EarlyBudget, EarlyWorth, divided
from otel_perfopt.decide.early_share import EarlyShare
from otel_perfopt.decide.tuned import Tuned
from otel_perfopt.verify.strategy_race import EXPLORE, SWITCH, RaceSettings, StrategyRace
from otel_perfopt.verify.value_race import ValueRace

SECOND = 10**9
EVERY_S = 2
SPREAD = 0.4
HOLD_OUT, HOLD_BACK = 0.10, 0.05
DAY, LOAD = {"a": 0.70, "b": 0.90}, {"a": 1.30, "b": 0.90}
HALF_DAY_UNITS = 4000
SETTINGS = RaceSettings("latency", dwell_s=1200.0, max_units=2000)


@dataclass
class Lived:
    """What a simulated group went through: mean time a treated unit, the oracle's, and its events."""

    seconds: float = 0.0
    oracle: float = 0.0
    fixed: Counter[str] = field(default_factory=Counter)
    units: int = 0
    events: Counter[str] = field(default_factory=Counter)

    @property
    def regret(self) -> float:
        """Seconds lost a unit against always having the best one, as a share."""
        return self.seconds / self.oracle - 1

    @property
    def fixed_regret(self) -> float:
        """The same of whichever one strategy is best on the whole."""
        return min(self.fixed.values()) / self.oracle - 1


def shares_of(front: str, *, exploring: bool) -> dict[str, float]:
    """Return the shares of two active alternatives, as `decide/seating.py` gives them."""
    room = 1 - HOLD_BACK
    if exploring:
        return {"a": room / 2, "b": room / 2}
    return {name: room - HOLD_OUT if name == front else HOLD_OUT for name in "ab"}


def live(seed: int, truth: Callable[[int], Mapping[str, float]], units: int) -> Lived:
    """Run one group for so many conversations."""
    draw, lived = random.Random(seed), Lived()
    front, exploring = "a", True
    race = StrategyRace(SETTINGS, front, shares_of(front, exploring=True), 0, exploring=True)
    lived.events[EXPLORE] += 1
    shares = shares_of(front, exploring=exploring)
    for number in range(units):
        now_ns, place, real = number * EVERY_S * SECOND, draw.random(), truth(number)
        member = "a" if place < shares["a"] else "b" if place < shares["a"] + shares["b"] else None
        noise = draw.lognormvariate(0, SPREAD)
        if member is not None:
            race.observe(str(number), member, real[member] * noise, now_ns)
            lived.seconds += real[member]
            lived.oracle += min(real.values())
            lived.fixed.update({name: real[name] for name in real})
            lived.units += 1
        answer = race.answer(now_ns) if number % 25 == 0 else None
        if answer is not None:
            lived.events[answer.kind] += 1
            front, exploring = answer.to, answer.kind == EXPLORE
            shares = shares_of(front, exploring=exploring)
            race = StrategyRace(SETTINGS, front, shares, now_ns, exploring=exploring)
    return lived


def by_half_day(number: int) -> Mapping[str, float]:
    """Return the truth: `a` is best by day, `b` under load."""
    return DAY if number // HALF_DAY_UNITS % 2 == 0 else LOAD


def equal(_: int) -> Mapping[str, float]:
    """Return the truth of an A/A run."""
    return {"a": 1.0, "b": 1.0}


def upper_share(events: int, trials: int) -> float:
    """Return the exact one-sided 95 % upper bound of a share (Clopper and Pearson)."""
    return 1.0 if events >= trials else float(beta.ppf(0.95, events + 1, trials - events))


def upper_rate(events: int, exposure: float) -> float:
    """Return the exact one-sided 95 % upper bound of a Poisson rate."""
    return float(chi2.ppf(0.95, 2 * (events + 1)) / 2 / exposure)


def spread_of(values: list[float]) -> str:
    """Return the median and the range of shares."""
    return f"{statistics.median(values):7.1%}  ({min(values):.1%} to {max(values):.1%})"


def regret(runs: int) -> None:
    """Print what switching costs against the best fixed strategy and the oracle."""
    lives = [live(seed, by_half_day, 4 * HALF_DAY_UNITS) for seed in range(runs)]
    print(f"\nStrategies that change places every {HALF_DAY_UNITS} conversations ({runs} runs of {4 * HALF_DAY_UNITS})")
    print(f"  by day a {DAY['a']} s, b {DAY['b']} s; under load a {LOAD['a']} s, b {LOAD['b']} s")
    print("  time lost against the oracle, median (range):")
    print(f"    switching             {spread_of([one.regret for one in lives])}")
    print(f"    the best fixed one    {spread_of([one.fixed_regret for one in lives])}")
    print(f"    hold-outs alone cost  {(HOLD_OUT / (1 - HOLD_BACK)) * mean_gap():7.1%}")
    print(
        f"  switches a run {statistics.mean(one.events[SWITCH] for one in lives):.1f} (the truth changes 3 times), "
        f"explorations {statistics.mean(one.events[EXPLORE] for one in lives):.1f}"
    )


def mean_gap() -> float:
    """Return how much worse the other strategy is, of the oracle's time."""
    gaps = [max(one.values()) - min(one.values()) for one in (DAY, LOAD)]
    return statistics.mean(gaps) / statistics.mean(min(one.values()) for one in (DAY, LOAD))


def flapping(runs: int, explorations: int) -> None:
    """Print how often equals are switched."""
    shares, switched = shares_of("a", exploring=True), 0
    for seed in range(explorations):
        draw, answer, number = random.Random(10_000 + seed), None, 0
        race = StrategyRace(SETTINGS, "a", shares, 0, exploring=True)
        while answer is None:
            number += 1
            race.observe(str(number), "ab"[draw.random() < 0.5], draw.lognormvariate(0, SPREAD), number)
            answer = race.answer(number) if number % 50 == 0 else None
        switched += answer.kind == SWITCH
    lives = [live(20_000 + seed, equal, 4 * HALF_DAY_UNITS) for seed in range(runs)]
    switches, units = sum(one.events[SWITCH] for one in lives), sum(one.units for one in lives)
    explored = sum(one.events[EXPLORE] for one in lives)
    print(f"\nA/A: two equal strategies (alpha {SETTINGS.alpha:.0%} an exploration)")
    print(
        f"  one exploration: {switched} of {explorations} ended in a switch, {switched / explorations:.1%}; "
        f"95 % upper bound {upper_share(switched, explorations):.1%}"
    )
    print(
        f"  whole lives: {switches} switches and {explored} explorations in {units:,} conversations of {runs} runs: "
        f"{switches / units * 1e4:.2f} switches in 10,000; 95 % upper bound {upper_rate(switches, units / 1e4):.2f}"
    )


def tuning(runs: int) -> None:
    """Print how often the best value is found and what that takes."""
    print(f"\nTuning among four values ({runs} runs each, a limit of 6,000 units of the values left, alpha 5 %)")
    print("  truth                       best kept   also-ran at the limit   units until one is left, median (90 %)")
    for truth in ([1.0, 0.7, 0.85, 1.2], [1.0, 0.85, 0.95, 1.1], [1.0, 0.95, 0.97, 1.02], [1.0, 1.0, 1.0, 1.0]):
        found = [tuned(seed, truth) for seed in range(runs)]
        best = sum(truth[left] == min(truth) for left, _, _ in found)
        at_limit = sum(limit for _, _, limit in found)
        counts = sorted(units for _, units, _ in found)
        name = " ".join(f"{value:.2f}" for value in truth)
        print(
            f"  {name:26}  {best / runs:8.0%}   {at_limit / runs:20.0%}   "
            f"{statistics.median(counts):,.0f} ({counts[int(0.9 * (runs - 1))]:,})"
        )


def tuned(seed: int, truth: list[float]) -> tuple[int, int, bool]:
    """Return the value that is left, the units that took, and whether the limit decided."""
    draw, left = random.Random(30_000 + seed), list(range(len(truth)))
    race = ValueRace("latency", left, alpha=0.05, min_units=100, max_units=6000, declared=0, among=len(truth))
    number, at_limit = 0, False
    while len(left) > 1:
        number += 1
        index = draw.choice(left)
        race.observe(str(number), index, truth[index] * draw.lognormvariate(0, SPREAD), number)
        answer = race.answer() if number % 50 == 0 else None
        for gone in answer.values if answer is not None else ():
            race.drop(gone)
            left.remove(gone)
        at_limit = at_limit or (answer is not None and answer.at_limit)
    return left[0], number, at_limit


def budgets(minutes: int) -> None:
    """Print what a shared budget saves against an even split, when worth changes places half-way."""
    print("\nA budget of 60 early calls a minute, three commands that each want 40; worth changes places half-way")
    declared = EarlyBudget.model_validate({"perMinute": 60, "floor": "10%"})
    for name, moves in (("divided by worth", True), ("even split", False)):
        saved, back = spent(declared, minutes, moves=moves)
        best = 60 * 0.5 * 0.9 * minutes * 40 / 60 + 20 * 0.2 * 0.5 * minutes
        after = f"; the command that became useful has half of the budget after {back} minutes" if back else ""
        print(f"  {name:18} {saved:7.0f} s saved, {saved / best:5.0%} of what knowing the truth would give{after}")


def spent(declared: EarlyBudget, minutes: int, *, moves: bool) -> tuple[float, int]:
    """Return the seconds saved, and after how many minutes the budget had followed the change."""
    draw, now = random.Random(5), [0]
    real = EarlyBudgets(Clock(lambda: now[0], lambda: now[0]))
    sums = {name: [0.0, 0.0, 0.0] for name in ("x", "y", "z")}
    shares: dict[str, float] = dict.fromkeys(sums, 1 / 3)
    saved, back = 0.0, 0
    for minute in range(minutes):
        worth = {"x": (0.5, 0.9), "y": (0.0, 0.0), "z": (0.2, 0.5)}
        if minute >= minutes // 2:
            worth["x"], worth["y"] = worth["y"], worth["x"]
        for second in range(60):
            now[0] = (minute * 60 + second) * SECOND
            for name, own in sums.items():
                if draw.random() < 40 / 60 and real.take((EarlyShare("p", 60.0, 0.1, shares),), name):
                    used = draw.random() < worth[name][1]
                    saved += worth[name][0] * used
                    own[0] += 1
                    own[1] += used
                    own[2] += worth[name][0] * used
        sums = {name: [value * 0.5**0.1 for value in values] for name, values in sums.items()}
        if moves:
            shares = divided(declared, {name: EarlyWorth(*values) for name, values in sums.items()})
        if moves and not back and minute >= minutes // 2 and shares["y"] >= 0.5:
            back = minute - minutes // 2 + 1
    return saved, back


def hashing() -> None:
    """Print what a tuned parameter costs an agent: one hash a run."""
    tuned_values = Tuned("max_concurrency", (2, 4, 8, 16), (0, 1, 2, 3))
    rounds = []
    for _ in range(7):
        began = time.perf_counter()
        for number in range(20_000):
            tuned_values.index("0123456789abcdef", f"conversation-{number}")
        rounds.append((time.perf_counter() - began) / 20_000 * 1e6)
    print(
        f"\nA unit's value of a tuned parameter: {statistics.median(rounds):.1f} µs once a run "
        f"({min(rounds):.1f} to {max(rounds):.1f}); nothing for a policy that tunes nothing"
    )


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--explorations", type=int, default=300)
    parser.add_argument("--tunings", type=int, default=40)
    given = parser.parse_args()
    regret(given.runs)
    flapping(given.runs, given.explorations)
    tuning(given.tunings)
    budgets(120)
    hashing()


if __name__ == "__main__":
    main()
