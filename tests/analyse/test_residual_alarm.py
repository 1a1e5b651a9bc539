"""Alarms ring when a series leaves its rhythm, once, and not for noise."""

from __future__ import annotations

import numpy as np
import planted
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.analyse.gaps import fill
from otel_perfopt.analyse.history import NotEnoughHistory
from otel_perfopt.analyse.residual_alarm import alarms_of, suppress
from otel_perfopt.analyse.surprise import surprise
from otel_perfopt.analyse.tail import Tail

HOURS = np.arange(1008)
DAILY = 20 + 3 * np.sin(2 * np.pi * HOURS / 24)


def alarms(values, alpha=0.0125):
    return alarms_of(fill(planted.hourly(values)), alpha=alpha)


def test_an_outage_rings_once_at_its_hour():
    """Six hours at zero in the last two days: one alarm that begins with them, with what was to be expected."""
    for seed in range(5):
        values = DAILY + planted.correlated_noise(np.random.default_rng(seed), 1008, 0.5)
        values[975:981] = 0.0
        (alarm,) = alarms(values)
        assert abs((alarm.start_ns - planted.MONDAY_NS) / (3600 * planted.SECOND) - 975) <= 3
        assert alarm.observed == pytest.approx(0.0, abs=0.1)
        assert alarm.expected == pytest.approx(20, abs=5)


@pytest.mark.parametrize("noise", ["white", "correlated", "heavy", "skewed", "walk"])
def test_noise_rings_in_few_reports(noise):
    """Of forty series of noise at most two ring at level 1.25 %."""
    make = {
        "white": lambda rng: rng.normal(size=1008),
        "correlated": lambda rng: planted.correlated_noise(rng, 1008, 0.6),
        "heavy": lambda rng: rng.standard_t(3, 1008),
        "skewed": lambda rng: rng.lognormal(0, 1, 1008),
        "walk": lambda rng: np.cumsum(rng.normal(size=1008)),
    }[noise]
    assert sum(bool(alarms(20 + make(np.random.default_rng(seed)))) for seed in range(40)) <= 2


def test_what_was_long_ago_rings_no_more():
    """An outage three weeks before the end is history."""
    values = DAILY + np.random.default_rng(0).normal(size=1008)
    values[500:506] = 0.0
    assert alarms(values) == ()


def test_filled_hours_do_not_ring():
    """Where nothing was observed nothing is odd."""
    values = DAILY + np.random.default_rng(0).normal(size=1008)
    values[975:981] = np.nan
    assert alarms(values) == ()


def test_a_short_history_says_why():
    """Below a week there is a reason."""
    assert isinstance(alarms(DAILY[:100]), NotEnoughHistory)


@given(st.lists(st.floats(0, 10), max_size=200), st.integers(1, 50))
def test_suppression_repeats_no_alarm(scores, bins):
    """What is kept is larger than everything kept in reach before it; nothing else is lost, nothing is made up."""
    kept = suppress(np.array(scores), bins)
    for place, value in enumerate(scores):
        before = max(kept[max(0, place - bins) : place], default=0.0)
        assert kept[place] == (value if value > before else 0.0)


def test_surprise_knows_only_the_past():
    """Scores up to an hour are the same whatever comes after it."""
    values = DAILY + np.random.default_rng(1).normal(size=1008)
    changed = values.copy()
    changed[700:] = 1e3
    # A block of rows is judged by one fit: those after the change in its block share nothing with it.
    assert surprise(values, 24)[:700] == pytest.approx(surprise(changed, 24)[:700], abs=1e-6)


def test_the_tail_of_an_exponential_is_known_beyond_the_data():
    """From 2,000 values the probability of one in a million is right to within a decade; the sure one is no bolder."""
    past = np.random.default_rng(2).exponential(size=2000)
    tail = Tail.of(past)
    far = np.array([-np.log(1e-6)])
    assert tail.decades(far)[0] == pytest.approx(6, abs=1)
    assert tail.surely(far, 1)[0] <= tail.decades(far)[0] + 0.5
