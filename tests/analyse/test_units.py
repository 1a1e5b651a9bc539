"""Intervals cover the truth as often as they say, and memory stays bounded."""

from __future__ import annotations

import numpy as np
import planted
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_perfopt.analyse.bounded_table import BoundedTable, RecentStates
from otel_perfopt.analyse.student_t import student_t
from otel_perfopt.analyse.units import MAX_UNITS, Units, quantiles, ratio_interval
from otel_perfopt.analyse.wilson import wilson


@pytest.mark.parametrize("count", [5, 12, 60])
def test_intervals_of_a_share_cover_the_truth(count):
    """Of 400 samples, at least 88 % of the 95 % intervals hold the true share, however few the units."""
    rng = np.random.default_rng(count)
    held = 0
    for seed in range(400):
        wholes = rng.lognormal(0, 0.6, count)
        parts = wholes * rng.beta(2, 8, count)
        interval = ratio_interval(parts, wholes, seed=seed)
        held += interval.low <= 0.2 <= interval.high
    assert held >= 0.88 * 400


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1e6)), min_size=5, max_size=40))
def test_an_interval_holds_its_estimate_and_stays_a_share(units):
    """Low ≤ estimate ≤ high, within 0 and 1, for any parts of any wholes."""
    wholes = np.array([whole for _, whole in units])
    parts = np.array([share * whole for share, whole in units])
    interval = ratio_interval(parts, wholes)
    assert 0 <= interval.low <= interval.estimate + 1e-12
    assert interval.estimate - 1e-12 <= interval.high <= 1 + 1e-12


def run_of(conversation, number=0):
    writer = planted.RunWriter(conversation=conversation)
    writer.infer(1.0)
    return writer.done()


def test_units_are_conversations_and_stay_bounded():
    """Three thousand conversations share 512 sums at most, and not a second is lost."""
    units = Units()
    for number in range(3000):
        units.add(run_of(f"c{number}"), {"part": 1.0, "whole": 4.0})
    assert units.count <= MAX_UNITS
    assert units.total("whole") == 12_000
    assert units.ratio("part", "whole").estimate == pytest.approx(0.25)


def test_few_units_give_no_interval_and_few_conversations_fall_back_to_runs():
    """Four runs say nothing; six runs of one conversation speak for that conversation."""
    units = Units()
    for number in range(6):
        assert units.ratio("part", "whole") is None or number > 4
        units.add(run_of("one"), {"part": 1.0, "whole": 2.0})
    assert not units.of_conversations
    assert units.ratio("part", "whole").estimate == pytest.approx(0.5)


def test_wilson_agrees_with_statsmodels():
    """The score interval is the one statsmodels gives."""
    from statsmodels.stats.proportion import proportion_confint  # noqa: PLC0415

    for successes, trials in ((0, 10), (3, 10), (50, 60), (999, 1000)):
        interval = wilson(successes, trials)
        assert (interval.low, interval.high) == pytest.approx(proportion_confint(successes, trials, method="wilson"))
    assert wilson(0, 0) is None


def test_student_t_agrees_with_scipy():
    """Within 1 % from 4 degrees of freedom on."""
    from scipy.stats import t  # noqa: PLC0415

    for freedom in (4, 6, 11, 100):
        for alpha in (0.05, 0.01, 0.004):
            assert student_t(alpha, freedom) == pytest.approx(t.ppf(1 - alpha / 2, freedom), rel=0.01)


def test_tables_and_states_are_bounded():
    """Beyond the limit, keys share the overflow row; the oldest state is handed back when it is forgotten."""
    table = BoundedTable(list, overflow="(other)", limit=3)
    for key in "abcde":
        table[key].append(key)
    assert set(table.rows) == {"a", "b", "c", "(other)"}
    assert table["(other)"] == ["d", "e"]
    forgotten = []
    states = RecentStates(list, lambda key, _: forgotten.append(key), limit=2)
    for key in "aba":
        states[key].append(1)
    states["c"].append(1)
    assert forgotten == ["b"]
    states.close()
    assert forgotten == ["b", "a", "c"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_quantiles_are_those_of_numpy(values, shares):
    """Our quantiles are numpy's, but for the last digits."""
    assert quantiles(np.array(values), shares) == pytest.approx(np.quantile(values, shares), rel=1e-9, abs=1e-6)
