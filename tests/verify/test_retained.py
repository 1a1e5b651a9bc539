"""The bounds on what a shorter context keeps, on shares whose truth is known."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.verify.retained import retained_share


def test_no_units_say_nothing():
    """Nobody used anything: not enough data, and no share."""
    assert retained_share([]) is None


def test_without_a_loss_98_percent_take_about_165_units():
    """The lower bound rises with every unit that kept all it used."""
    assert retained_share([1.0] * 150).low < 0.98
    assert retained_share([1.0] * 170).low >= 0.98


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_the_bounds_lie_on_either_side(shares):
    """A mean is inside its bounds, and they are shares."""
    found = retained_share(shares)
    assert 0.0 <= found.low <= found.high <= 1.0
    assert found.low <= found.mean + 1e-6
    assert found.high >= found.mean - 1e-6


@pytest.mark.parametrize("loss", ["whole", "half", "third"])
def test_a_share_at_the_threshold_hardly_ever_passes_however_often_one_looks(loss):
    """Of 200 trials of 600 units at a true mean of 98 %, at most 5 % (and chance) are ever shown to be above."""
    size = {"whole": 1.0, "half": 0.5, "third": 1 / 3}[loss]
    chance = random.Random(7)
    passed = 0
    for _ in range(200):
        shares = [1.0 - size * (chance.random() < 0.02 / size) for _ in range(600)]
        passed += retained_share(shares).low >= 0.98
    assert passed <= 0.05 * 200 + 3 * (200 * 0.05 * 0.95) ** 0.5


def test_what_loses_much_is_shown_after_few_units():
    """A selection that loses a fifth of what is used is below 98 % within fifty units, nearly always."""
    chance = random.Random(3)
    trials = [[1.0 - 0.4 * (chance.random() < 0.5) for _ in range(50)] for _ in range(100)]
    assert sum(retained_share(shares).high < 0.98 for shares in trials) >= 95
