"""Several processes observe units of their own; merged, they say what one process would have said."""

from __future__ import annotations

import math
import pickle
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest
from guarded_trial import DECISION, PLAN, S, same
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_perfopt.verify.comparison import Comparison
from otel_perfopt.verify.opening import Opening
from otel_perfopt.verify.verdict import Unit


def traffic(count: int, seed: int) -> list[Unit]:
    """A ramp of two stages with every metric in it, some values missing."""
    rng, made = random.Random(seed), []
    for index in range(count):
        stage, share = ("canary-1", 0.2) if index < count // 3 else ("canary-2", 0.5)
        treated = rng.random() < share
        values = {
            "latency": math.exp(rng.gauss(0, 0.4)) * (0.8 if treated else 1.0),
            "cost_usd": rng.paretovariate(3) * 0.01,
            "task_failure": float(rng.random() < 0.05),
            "tool_error": float(rng.random() < 0.1),
            "satisfaction": rng.choice((0.0, 0.5, 1.0)),
        }
        values = {name: value for name, value in values.items() if rng.random() < 0.97}
        arm = "treatment" if treated else "baseline"
        made.append(Unit(f"u{index:05}", "p", "d", stage, arm, share, index * S, values))
    return made


def observed(units: list[Unit], opening: Opening | None = None) -> Comparison:
    comparison = Comparison(DECISION, PLAN, opening)
    for unit in units:
        comparison.observe(unit)
    return comparison


def sharded(units: list[Unit], shards: int, opening: Opening, seed: int = 0) -> Comparison:
    """Deal units out to shards at random, as a load balancer would, and merge what each made of its own."""
    rng = random.Random(seed)
    hands: list[list[Unit]] = [[] for _ in range(shards)]
    for unit in units:
        rng.choice(hands).append(unit)
    first, *others = (observed(hand, opening) for hand in hands)
    for other in others:
        first.merge(other)
    return first


@pytest.mark.parametrize("shards", [2, 5, 16])
def test_shards_merge_to_the_same_verdict(shards):
    """However units are dealt out to k processes, counts, effects and conclusion are those of one process."""
    units = traffic(1500, seed=shards)
    whole = observed(units)
    same(sharded(units, shards, whole.opening, seed=shards), whole, 1500 * S)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_any_deal_merges(seed, shards):
    """The same for any traffic and number of shards, empty shards included."""
    units = traffic(400, seed)
    whole = observed(units)
    same(sharded(units, shards, whole.opening, seed), whole, 400 * S)


def test_processes_merge_over_a_pipe():
    """States cross process borders as they are."""
    units = traffic(900, seed=3)
    opening = observed(units).opening
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(_observed_elsewhere, [(units[::2], opening), (units[1::2], opening)]))
    first, second = (pickle.loads(part) for part in parts)
    first.merge(second)
    same(first, observed(units), 900 * S)


def _observed_elsewhere(work):
    return pickle.dumps(observed(*work))


def test_the_state_is_a_few_numbers():
    """After ten times the units the state is as large as before."""
    sizes = [len(pickle.dumps(observed(traffic(count, seed=1)))) for count in (1000, 10_000)]
    assert sizes[1] < 1.1 * sizes[0]


def test_what_does_not_fit_is_not_merged():
    """Another plan, another start or values frozen apart: refused, for counts against them do not add up."""
    units = traffic(600, seed=4)
    with pytest.raises(ValueError, match="one decision under one plan"):
        observed(units).merge(Comparison(DECISION, replace(PLAN, alpha=0.01)))
    with pytest.raises(ValueError, match="opening"):
        observed(units[::2]).merge(observed(units[1::2]))
    without_warmup = replace(PLAN, warmup_s=0.0)
    halves = [Comparison(DECISION, without_warmup) for _ in range(2)]
    for index, unit in enumerate(units):
        halves[index % 2].observe(unit)
    with pytest.raises(ValueError, match="frozen apart"):
        halves[0].merge(halves[1])
