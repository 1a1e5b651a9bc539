"""Ours against others on the same draws: worlds in, one table of delays beside each other out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from verdicts_rivals import NEVER, Gbstats, group_sequential, planned_units
from verdicts_vectorised import Draws, _Events, _Means

from otel_perfopt.verify.comparison_plan import ComparisonPlan, Goal
from otel_perfopt.verify.confidence_sequence import Scale

ENVIRONMENT = Path.home() / ".cache" / "otel-perfopt" / "gbstats"
ALPHA = 0.05
LOOKS = 10
UNITS = 3000
MEANS = ((0.95, 0.35), (0.90, 0.35), (0.80, 0.35), (0.65, 0.35), (0.90, 0.8), (0.80, 0.8), (0.65, 0.8), (1.0, 0.35))
RATES = ((0.03, 0.06), (0.03, 0.09), (0.03, 0.20), (0.03, 0.40), (0.10, 0.20), (0.05, 0.05))
PLAN = ComparisonPlan(Goal("latency"), min_units=60, min_units_each=30)
COLUMNS = ("ours", "ours, 100 each", "gbstats 5000", "gbstats 500", "group-seq. told", f"group-seq. {UNITS}")


def duel(rollouts: int, drawn: Callable[..., Draws], world: Callable[..., Any]) -> None:
    """Print the median units until an effect is shown, and how often it is within 3,000 units.

    Everything is one-sided at 5 %. gbstats is two-sided, so it is given 10 %, with its default tuning
    (5,000 units) and with ours (500). A group-sequential design has ten looks; `told` knows the true effect
    and plans for it with 90 % power, which nobody can; the other plans for 3,000 units.
    """
    gbstats = Gbstats(ENVIRONMENT)
    print(f"\nThe same draws, {rollouts} roll-outs a row: median units until shown (share shown), one-sided 5 %")
    print(f"{'truth':30}" + "".join(f"{column:>19}" for column in COLUMNS))
    for effect, sd in MEANS:
        draws = drawn(world(stages=((0.5, UNITS),), latency_effect=effect, latency_sd=sd), rollouts, 77)
        values = np.log(draws.values["latency"])
        found = [_mean_delay(draws, values, each) for each in (30, 100)]
        found += [gbstats.decided(draws.treated, values, above=False, alpha=2 * ALPHA, tuning=t) for t in (5000, 500)]
        told = planned_units(-math.log(effect), sd, 0.5, ALPHA, 0.9, LOOKS) if effect < 1 else UNITS
        found += _designs(draws, values, told, above=False)
        _tell(f"latency {effect - 1:+.0%}, log sd {sd}", found)
    for ours, theirs in ((treated, baseline) for baseline, treated in RATES):
        draws = drawn(world(stages=((0.5, UNITS),), failure_baseline=theirs, failure_treatment=ours), rollouts, 78)
        values = draws.values["task_failure"]
        events = _Events(draws, values > 0, np.ones(values.shape, bool), absolute=False)
        found = [_first(events.beyond(0.0, ALPHA, above=True, benefit=False))] * 2
        found += [
            gbstats.decided(draws.treated, values, above=True, alpha=2 * ALPHA, tuning=tuning, is_share=True)
            for tuning in (5000, 500)
        ]
        sd = math.sqrt((ours + theirs) / 2 * (1 - (ours + theirs) / 2))
        told = planned_units(ours - theirs, sd, 0.5, ALPHA, 0.9, LOOKS) if ours > theirs else UNITS
        found += _designs(draws, values, told, above=True)
        _tell(f"failures {theirs:.0%} → {ours:.0%}", found)


def _mean_delay(draws: Draws, values: np.ndarray, each: int) -> np.ndarray:
    plan = ComparisonPlan(PLAN.goal, min_units=2 * each, min_units_each=each)
    return _first(_Means(draws, values, Scale.LOG, plan).beyond(0.0, ALPHA, above=False, benefit=True))


def _designs(draws: Draws, values: np.ndarray, told: int, *, above: bool) -> list[np.ndarray]:
    sizes = (max(LOOKS * 4, min(told, UNITS)), UNITS)
    return [group_sequential(draws.treated, values, above=above, alpha=ALPHA, looks=LOOKS, units=n) for n in sizes]


def _first(shown: np.ndarray) -> np.ndarray:
    return np.where(shown.any(axis=1), shown.argmax(axis=1) + 1, NEVER)


def _tell(name: str, found: list[np.ndarray]) -> None:
    cells = []
    for delays in found:
        median = np.sort(delays)[len(delays) // 2]
        text = "–" if median == NEVER else str(median)
        cells.append(f"{text} ({(delays != NEVER).mean():.0%})")
    print(f"{name:30}" + "".join(f"{cell:>19}" for cell in cells), flush=True)
