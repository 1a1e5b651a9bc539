"""The test of spread: planted scatter found, none found where there is none, the level left out of it."""

from __future__ import annotations

import math
import random

import pytest

from otel_perfopt.verify.evidence import Stratum
from otel_perfopt.verify.spread_test import MIN_SPREAD_UNITS, SpreadTest

HALF = Stratum("canary-1", 0.5)


def scattered(units: int, ours: float, theirs: float, seed: int, level: float = 1.0) -> SpreadTest:
    rng, test = random.Random(seed), SpreadTest()
    for _ in range(units):
        treated = rng.random() < 0.5
        sd = ours if treated else theirs
        test.add(HALF, math.exp(rng.gauss(2.0, sd)) * (level if treated else 1.0), treatment=treated)
    return test


def test_planted_scatter_is_found_and_measured():
    """Half as much scatter again is harm beyond 10 %, with the truth inside the interval."""
    test = scattered(2000, 0.6, 0.4, seed=1)
    assert test.above(0.1, 0.05, benefit=False)
    found = test.interval(0.05, benefit=False)
    assert found.low < 0.5 < found.high
    assert found.low > 0.1


def test_a_change_of_level_is_no_change_of_spread():
    """Three times as slow but as regular as before: spread is shown to be no worse than tolerated."""
    test = scattered(3000, 0.4, 0.4, seed=2, level=3.0)
    assert test.below(0.25, 0.05, benefit=True)
    assert not test.above(0.0, 0.05, benefit=False)


def test_little_or_no_spread_says_nothing():
    """Few units, or values all alike, give no interval rather than a wrong one."""
    assert scattered(MIN_SPREAD_UNITS, 0.5, 0.5, seed=3).interval(0.05, benefit=False) is None
    alike = SpreadTest()
    for index in range(1000):
        alike.add(HALF, 2.0, treatment=index % 2 == 0)
    assert alike.interval(0.05, benefit=False) is None


@pytest.mark.parametrize("tail", ["normal", "exponential"])
def test_equal_spread_is_rarely_called_unequal(tail):
    """With a look at every tenth of 1,500 units, false harm and false benefit stay within alpha = 10 %."""
    trials, alpha, false = 150, 0.1, [0, 0]
    for number in range(trials):
        rng, test, seen = random.Random(f"{tail}/{number}"), SpreadTest(), [False, False]
        for index in range(1500):
            draw = rng.gauss(0, 0.5) if tail == "normal" else rng.expovariate(2.0)
            test.add(HALF, math.exp(draw), treatment=rng.random() < 0.5)
            if index % 10 == 9:
                seen[0] |= test.above(0.0, alpha, benefit=False)
                seen[1] |= test.below(0.0, alpha, benefit=True)
        false = [false[0] + seen[0], false[1] + seen[1]]
    # Two standard errors of 150 trials above 10 % are 15 %.
    assert max(false) <= 0.15 * trials
