"""The failure e-process against exact enumeration and its algebra."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.verify.evidence import Stratum, e_value
from otel_perfopt.verify.failure_eprocess import (
    HARM_GRID,
    EventCounts,
    counts_of,
    log_e_above,
    log_e_below,
    log_e_mismatch,
    ratio_interval,
)

HALF, FIFTH = Stratum("canary-1", 0.5), Stratum("canary-2", 0.2)
EVENTS = st.lists(st.tuples(st.sampled_from([HALF, FIFTH]), st.booleans()), max_size=60)
RATIOS = st.floats(0.5, 4.0)


def counted(stratum: Stratum, treatment: int, baseline: int) -> EventCounts:
    return EventCounts({stratum: (treatment, baseline)})


def mean_over_splits(evidence, allocation: float, ratio: float, events: int) -> float:
    """The exact expectation over how `events` failures split between the arms at the true `ratio`."""
    theta = allocation * ratio / (allocation * ratio + 1 - allocation)
    return sum(
        math.comb(events, k) * theta**k * (1 - theta) ** (events - k) * e_value(evidence(k, events - k))
        for k in range(events + 1)
    )


@pytest.mark.parametrize("allocation", [0.05, 0.5, 0.8])
@pytest.mark.parametrize("tolerated", [1.0, 1.5])
def test_expectation_is_one_on_the_edge_and_less_inside(allocation, tolerated):
    """E has expectation exactly 1 at the tolerated ratio, at most 1 below it, and more above it."""
    stratum = Stratum("s", allocation)

    def evidence(treatment: int, baseline: int) -> float:
        return log_e_above(counted(stratum, treatment, baseline), tolerated)

    assert mean_over_splits(evidence, allocation, tolerated, 25) == pytest.approx(1.0)
    assert mean_over_splits(evidence, allocation, tolerated * 0.7, 25) < 1.0
    assert mean_over_splits(evidence, allocation, tolerated * 1.3, 25) > 1.0


def test_swapped_arms_show_non_inferiority():
    """The swapped test has expectation 1 on the edge, at most 1 when treatment is worse than tolerated."""

    def evidence(treatment: int, baseline: int) -> float:
        return log_e_below(counted(Stratum("s", 0.3), treatment, baseline), 1.5)

    assert mean_over_splits(evidence, 0.3, 1.5, 25) == pytest.approx(1.0)
    assert mean_over_splits(evidence, 0.3, 2.0, 25) < 1.0
    assert mean_over_splits(evidence, 0.3, 1.0, 25) > 1.0


def test_mismatch_is_a_martingale_to_both_sides():
    """Enrolments at the declared ratio give expectation 1; too many in either arm give evidence."""
    stratum = Stratum("s", 0.2)

    def evidence(treatment: int, baseline: int) -> float:
        return log_e_mismatch(counted(stratum, treatment, baseline))

    assert mean_over_splits(evidence, 0.2, 1.0, 40) == pytest.approx(1.0)
    assert evidence(300, 800) > math.log(100)
    assert evidence(120, 880) > math.log(100)
    assert evidence(200, 800) < 0


def test_value_agrees_with_the_formula_written_out():
    """One allocation, three failures against one, by hand."""
    allocation, tolerated = 0.4, 1.2

    def theta(ratio: float) -> float:
        return allocation * ratio / (allocation * ratio + 1 - allocation)

    null = theta(tolerated)
    products = [(theta(tolerated * g) / null) ** 3 * (1 - theta(tolerated * g)) / (1 - null) for g in HARM_GRID]
    found = e_value(log_e_above(counted(Stratum("s", allocation), 3, 1), tolerated))
    assert found == pytest.approx(sum(products) / len(products))


def test_stages_share_what_was_learned():
    """The mixture of products is larger than the product of mixtures when the same harm shows in each stage."""
    one, two = counted(HALF, 12, 2), counted(FIFTH, 6, 4)
    both = EventCounts({**one.by_stratum, **two.by_stratum})
    assert log_e_above(both, 1.0) > log_e_above(one, 1.0) + log_e_above(two, 1.0)


@given(EVENTS, EVENTS, RATIOS)
def test_merging_is_concatenation(first, second, ratio):
    """Two processes' states merged give what one process would have."""
    merged = counts_of(first)
    merged.merge(counts_of(second))
    assert log_e_above(merged, ratio) == pytest.approx(log_e_above(counts_of(first + second), ratio))


@given(EVENTS, st.sampled_from([HALF, FIFTH]), RATIOS)
def test_evidence_is_monotone(events, stratum, ratio):
    """A failure in treatment never lowers the evidence of harm, one in baseline never raises it; never negative."""
    before = log_e_above(counts_of(events), ratio)
    assert e_value(before) >= 0
    assert log_e_above(counts_of([*events, (stratum, True)]), ratio) > before
    assert log_e_above(counts_of([*events, (stratum, False)]), ratio) < before
    assert log_e_above(counts_of(events), ratio * 1.1) <= before + 1e-9


@given(EVENTS.filter(bool))
def test_interval_is_what_the_tests_do_not_reject(events):
    """Just outside the interval's bounds the one-sided tests reject, just inside they do not."""
    counts = counts_of(events)
    found = ratio_interval(counts, 0.05)
    assert found is not None
    assert found.low < found.high
    if found.low > 0:
        assert log_e_above(counts, found.low * 0.999) >= math.log(20)
        assert log_e_above(counts, found.low * 1.001) < math.log(20)
    if math.isfinite(found.high):
        assert log_e_below(counts, found.high * 1.001) >= math.log(20)


def test_huge_counts_stay_finite():
    """A million failures neither overflow nor turn into nothing."""
    assert math.isfinite(e_value(log_e_above(counted(HALF, 10**6, 0), 1.0)))
    assert e_value(log_e_above(counted(HALF, 0, 10**6), 1.0)) >= 0
    assert ratio_interval(EventCounts(), 0.05) is None
