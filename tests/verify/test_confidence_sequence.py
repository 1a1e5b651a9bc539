"""The confidence sequence against its formula, an independent package and simulation."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.verify.confidence_sequence import ArmMoments, Scale, contrast, radius
from otel_perfopt.verify.evidence import Stratum

HALF, TENTH = Stratum("canary-2", 0.5), Stratum("canary-1", 0.1)
VALUES = st.lists(st.tuples(st.sampled_from([HALF, TENTH]), st.booleans(), st.floats(0.01, 100.0)), max_size=50)


def moments_of(units) -> ArmMoments:
    moments = ArmMoments()
    for stratum, treatment, value in units:
        moments.add(stratum, value, treatment=treatment)
    return moments


@pytest.mark.parametrize("units", [200, 500, 5000])
@pytest.mark.parametrize("alpha", [0.05, 0.0125])
def test_radius_is_the_formula_of_the_papers(units, alpha):
    """The radius is σ̂√[2(tρ²+1)/(t²ρ²)·ln(1+√(tρ²+1)/(2α))], σ̂² = t(s²_T/n_T+s²_C/n_C), written out again."""
    variance = 0.3**2 / (units / 2) + 0.4**2 / (units / 2)
    rho2 = (-2 * math.log(2 * alpha) + math.log(1 - 2 * math.log(2 * alpha))) / 500
    spread = units * variance
    inner = 2 * (units * rho2 + 1) / (units**2 * rho2) * math.log(1 + math.sqrt(units * rho2 + 1) / (2 * alpha))
    assert radius(variance, units, alpha) == pytest.approx(math.sqrt(spread) * math.sqrt(inner))


@pytest.mark.parametrize("units", [60, 500, 8000])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_radius_is_never_below_and_hardly_above_the_exact_boundary(units, alpha):
    """Robbins' one-sided mixture, solved numerically by an independent package, is at most 2 % tighter."""
    ville = pytest.importorskip("ville", reason="the package ville is the oracle here: pip install ville")
    rho2 = (-2 * math.log(2 * alpha) + math.log(1 - 2 * math.log(2 * alpha))) / 500
    exact = float(ville.normal_mixture(units, alpha, 1 / rho2, one_sided=True)) / units
    ours = radius(1.0 / units, units, alpha)
    assert exact <= ours <= 1.02 * exact
    tightest = float(ville.normal_mixture(500, alpha, ville.best_rho(500, alpha, one_sided=True), one_sided=True))
    assert radius(1 / 500, 500, alpha) <= 1.02 * tightest / 500


def test_bounds_hold_at_every_look():
    """With no effect the upper bound is below zero at any look in at most alpha of the trials."""
    rng = random.Random(5)
    trials, crossed = 300, 0
    for _ in range(trials):
        moments = ArmMoments()
        for index in range(500):
            treatment = rng.random() < 0.5
            moments.add(HALF, rng.gauss(0, 0.8), treatment=treatment)
            if index < 60:
                continue
            found = contrast(moments, Scale.LOG)
            if found and found.estimate + radius(found.variance, found.units, 0.1) < 0:
                crossed += 1
                break
    assert 0 < crossed <= 0.1 * trials * 1.35  # two standard errors of 300 trials


def test_stages_are_never_pooled():
    """A trend across a ramp looks like an effect when pooled, and like none when stratified."""
    rng = random.Random(3)
    stratified, pooled = ArmMoments(), ArmMoments()
    for stratum, level in ((TENTH, 0.0), (HALF, 1.0)):
        for _ in range(1000):
            treatment, value = rng.random() < stratum.allocation, rng.gauss(level, 0.3)
            stratified.add(stratum, value, treatment=treatment)
            pooled.add(HALF, value, treatment=treatment)
    right, wrong = contrast(stratified, Scale.LOG), contrast(pooled, Scale.LOG)
    assert right is not None
    assert wrong is not None
    assert abs(right.estimate) < radius(right.variance, right.units, 0.05)
    assert wrong.estimate > radius(wrong.variance, wrong.units, 0.05)


def test_every_scale_finds_the_planted_effect():
    """30 % less shows as ln 0.7 on both ratio scales and as −0.6 of 2.0 on the difference scale."""
    rng = random.Random(9)
    logs, raws = ArmMoments(), ArmMoments()
    for _ in range(8000):
        treatment = rng.random() < 0.5
        value = 2.0 * math.exp(rng.gauss(-0.045, 0.3)) * (0.7 if treatment else 1.0)
        logs.add(HALF, math.log(value), treatment=treatment)
        raws.add(HALF, value, treatment=treatment)
    for moments, scale, truth in (
        (logs, Scale.LOG, math.log(0.7)),
        (raws, Scale.RATIO, math.log(0.7)),
        (raws, Scale.DIFFERENCE, -0.6),
    ):
        found = contrast(moments, scale)
        assert found is not None
        assert found.estimate == pytest.approx(truth, abs=0.03)
        assert abs(found.estimate - truth) < radius(found.variance, found.units, 0.05)


@given(VALUES, VALUES, st.sampled_from(list(Scale)))
def test_merging_is_concatenation(first, second, scale):
    """Two processes' states merged give what one process would have."""
    merged = moments_of(first)
    merged.merge(moments_of(second))
    left, right = contrast(merged, scale), contrast(moments_of(first + second), scale)
    assert (left is None) == (right is None)
    if left and right:
        assert left.estimate == pytest.approx(right.estimate, abs=1e-6)
        assert left.variance == pytest.approx(right.variance, rel=1e-3, abs=1e-6)
        assert left.variance > 0


def test_constant_values_claim_nothing_by_rounding():
    """Two arms of the same constant do not differ, however little they spread."""
    moments = moments_of([(HALF, index % 2 == 0, 0.1) for index in range(999)])
    found = contrast(moments, Scale.RATIO)
    assert found is not None
    assert abs(found.estimate) < radius(found.variance, found.units, 0.05)
