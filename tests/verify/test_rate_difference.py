"""The betting test on a difference of rates against exact enumeration, simulation and its algebra."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.verify.evidence import Stratum, e_value
from otel_perfopt.verify.rate_difference import (
    CAPITAL,
    OutcomeCounts,
    difference_interval,
    log_e_difference_above,
    log_e_difference_below,
    log_wealth,
)

HALF, TENTH = Stratum("canary-1", 0.5), Stratum("canary-2", 0.1)
UNITS = st.lists(st.tuples(st.sampled_from([HALF, TENTH]), st.booleans(), st.booleans()), max_size=60)


def counts_of(units) -> OutcomeCounts:
    counts = OutcomeCounts()
    for stratum, treatment, failed in units:
        counts.add(stratum, treatment=treatment, failed=failed)
    return counts


def exact_mean(evidence, stratum: Stratum, ours: float, theirs: float, units: int) -> float:
    """The expectation over every history of `units` units (arm and outcome each)."""
    share = stratum.allocation
    chances = {
        (True, True): share * ours,
        (True, False): share * (1 - ours),
        (False, True): (1 - share) * theirs,
        (False, False): (1 - share) * (1 - theirs),
    }
    return sum(
        math.prod(chances[one] for one in history) * e_value(evidence(counts_of([(stratum, *one) for one in history])))
        for history in itertools.product(chances, repeat=units)
    )


def test_capital_is_all_there_is():
    """The strategies' starting capital sums to one, or wealth would not be an e-value."""
    assert sum(CAPITAL) == pytest.approx(1.0)


EDGES = [(0.05, 0.1), (0.4, 0.2), (0.3, -0.1), (0.0, 0.0)]


@pytest.mark.parametrize("stratum", [HALF, TENTH])
@pytest.mark.parametrize(("theirs", "margin"), EDGES)
@pytest.mark.parametrize("sign", [1, -1])
def test_betting_is_fair_on_the_edge(stratum, theirs, margin, sign):
    """Wealth has expectation exactly 1 when the difference equals the margin, in both directions."""
    mean = exact_mean(lambda counts: log_wealth(counts, margin, sign=sign), stratum, theirs + margin, theirs, 4)
    assert mean == pytest.approx(1.0)


@pytest.mark.parametrize("stratum", [HALF, TENTH])
@pytest.mark.parametrize("margin", [-0.2, 0.0, 0.1, 0.3])
@pytest.mark.parametrize("base", [0.0, 0.02, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("room", [0.0, 0.05, 0.3])
def test_expectation_is_at_most_one_wherever_the_hypothesis_holds(stratum, margin, base, room):
    """For rates on the edge and inside the hypothesis, in both directions, the expectation never exceeds 1."""
    for sign, test in ((1, log_e_difference_above), (-1, log_e_difference_below)):
        ours = base + margin - sign * room
        if 0.0 <= ours <= 1.0:
            mean = exact_mean(lambda counts, test=test: test(counts, margin), stratum, ours, base, 3)
            assert mean <= 1.0 + 1e-9


def test_expectation_falls_inside_the_hypothesis_and_grows_outside():
    """Evidence shrinks where the hypothesis holds with room, and grows where it is false."""

    def below(counts: OutcomeCounts) -> float:
        return log_e_difference_below(counts, 0.1)

    assert exact_mean(below, HALF, 0.4, 0.05, 4) < 1.0
    assert exact_mean(below, HALF, 0.05, 0.05, 4) > 1.0


def test_type_one_error_with_a_look_at_every_unit_and_a_drifting_base_rate():
    """On the edge, with the base rate climbing from 1 % to 20 %, at most alpha of the trials ever reject."""
    rng = random.Random(11)
    trials, length, margin, alpha = 300, 240, 0.1, 0.1
    limit, rejected = math.log(1 / alpha), {"above": 0, "below": 0}
    for _ in range(trials):
        counts, seen = OutcomeCounts(), set()
        for index in range(length):
            stratum = TENTH if index < length // 3 else HALF
            treatment = rng.random() < stratum.allocation
            base = 0.01 + 0.19 * index / length
            counts.add(stratum, treatment=treatment, failed=rng.random() < base + margin * treatment)
            if log_e_difference_above(counts, margin) >= limit:
                seen.add("above")
            if log_e_difference_below(counts, margin) >= limit:
                seen.add("below")
        for side in seen:
            rejected[side] += 1
    # Ville's bound is 10 %; two standard errors of 300 trials above it are 13.5 %.
    assert 0 < rejected["above"] <= alpha * trials * 1.35
    assert 0 < rejected["below"] <= alpha * trials * 1.35


def test_rare_failures_show_non_inferiority_that_the_ratio_cannot():
    """150 units an arm with 3 % failures: within 10 points for sure, while the ratio's interval stays wide."""
    counts = OutcomeCounts({HALF: (4, 5, 150, 150)})
    assert log_e_difference_below(counts, 0.10) >= math.log(20)
    assert log_e_difference_below(counts, 0.01) < math.log(20)


@given(UNITS, UNITS)
def test_merging_is_concatenation(first, second):
    """Two processes' states merged give what one process would have."""
    merged = counts_of(first)
    merged.merge(counts_of(second))
    assert log_e_difference_above(merged, 0.05) == pytest.approx(
        log_e_difference_above(counts_of(first + second), 0.05)
    )


@given(UNITS, st.sampled_from([HALF, TENTH]), st.floats(-0.3, 0.3))
def test_evidence_is_monotone_and_never_negative(units, stratum, margin):
    """A failed treatment unit speaks more for harm than one that worked; a wider margin wins less by betting."""
    failed = log_e_difference_above(counts_of([*units, (stratum, True, True)]), margin)
    worked = log_e_difference_above(counts_of([*units, (stratum, True, False)]), margin)
    assert failed > worked
    assert e_value(failed) >= 0
    wider = log_wealth(counts_of(units), margin + 0.05, sign=1)
    assert wider <= log_wealth(counts_of(units), margin, sign=1) + 1e-9


@given(UNITS)
def test_interval_holds_its_estimate(units):
    """The interval is ordered, inside [−1, 1], and absent until both arms of a stratum have units."""
    found = difference_interval(counts_of(units), 0.05)
    if found is not None:
        assert -1.0 <= found.low <= found.estimate <= found.high <= 1.0
