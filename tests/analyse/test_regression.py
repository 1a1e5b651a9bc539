"""What became worse is dated to what changed: releases, models, prompts and policies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import planted
import pytest

from otel_perfopt import conventions as c
from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.decomposition import history_of, residual_of
from otel_perfopt.analyse.regression import regressions_of
from otel_perfopt.analyse.run_changes import RELEASE, RunChange, RunChanges
from otel_perfopt.execution.model import Assignment, Target
from otel_perfopt.measure.measurement import Series
from otel_perfopt.measure.series import LATENCY_MEAN

HOUR_NS = 3600 * planted.SECOND
HOURS = np.arange(1008)


def change(hour, before="1", after="2", dimension=RELEASE):
    return RunChange(dimension, "", before, after, planted.MONDAY_NS + hour * HOUR_NS)


def judged(values, metric=LATENCY_MEAN):
    series = Series(metric, Target(), planted.MONDAY_NS, 3600.0, tuple(map(float, values)))
    history = history_of(series, "mean run time", "s")
    return history, residual_of(history, only_season=True)


def slow_runs(slower_from, hours=500, **fields):
    """Two runs an hour; from an hour on they take 30 % longer and `fields` of each run tell why."""
    rng = np.random.default_rng(1)
    runs = []
    for hour in range(hours):
        late = hour >= slower_from
        for _ in range(2):
            writer = planted.RunWriter(start_ns=planted.MONDAY_NS + int((hour + rng.random()) * HOUR_NS))
            writer.model = fields.get("models", ("m", "m"))[late]
            attributes = {c.PROMPT_DIGEST: fields["prompts"][late]} if "prompts" in fields else {}
            step = writer.infer(float(rng.lognormal(0, 0.2)) * (1.3 if late else 1.0))
            if attributes:
                writer.steps[-1] = replace(step, attributes=attributes)
            run = writer.done()
            if "releases" in fields:
                run = replace(run, release=fields["releases"][late])
            if "policy" in fields and late:
                run = replace(run, arms={fields["policy"]: Assignment("treatment", "d", "active")})
            runs.append(run)
    return runs


@pytest.mark.parametrize(
    ("fields", "dimension", "before", "after"),
    [
        ({"releases": ("1.9", "2.0")}, "release", "1.9", "2.0"),
        ({"models": ("large", "small")}, "model", "large", "small"),
        ({"prompts": ("aa", "bb")}, "prompt", "aa", "bb"),
        ({"policy": "query-cache"}, "policy", "none", "active"),
    ],
)
def test_each_dimension_is_named(fields, dimension, before, after):
    """A slowdown of 30 % comes with one change: the regression names it, its date, its size and the way back."""
    analysis = analyse(planted.PlantedSource(slow_runs(300, **fields)), detectors=())
    (regression,) = analysis.regressions
    assert (regression.dimension, regression.before, regression.after) == (dimension, before, after)
    assert abs((regression.time_ns - planted.MONDAY_NS) / HOUR_NS - 300) <= 2
    assert regression.relative.low <= 0.3 <= regression.relative.high
    (finding,) = [one for one in analysis.findings if one.kind == "regression"]
    assert "oll back" in finding.summary
    if dimension == "model":
        assert finding.suggestion.optimization == "model_routing"
        assert finding.suggestion.parameters == {"model": "large"}
        assert finding.suggestion.match == {"model": ("small",)}
    (shift,) = [point for one in analysis.histories if one.name == "mean run time" for point in one.change_points]
    assert any(f"{before} → {after}" in said for said in shift.dates_to)


def test_a_slowdown_without_a_change_blames_nothing():
    """A shift is found, but nothing changed about the runs."""
    analysis = analyse(planted.PlantedSource(slow_runs(300, releases=("1", "1"))), detectors=())
    assert analysis.regressions == ()
    assert any(one.kind == "change_point" for one in analysis.findings)


def test_two_changes_at_once_are_both_named():
    """What cannot be told apart is said to be so."""
    analysis = analyse(planted.PlantedSource(slow_runs(300, releases=("1", "2"), models=("a", "b"))), detectors=())
    assert {one.dimension for one in analysis.regressions} == {"release", "model"}
    assert all(one.also for one in analysis.regressions)


def test_what_became_better_is_no_regression():
    """A release that made runs faster is not told as worse."""
    values = 20 - 2.0 * (HOURS >= 500) + planted.correlated_noise(np.random.default_rng(0), 1008, 0.4)
    assert regressions_of([judged(values)], [change(500)]) == ()


def test_releases_that_change_nothing_are_cleared():
    """Of sixty histories with five releases each and no effect at most two blame one (level 0.5 %)."""
    said = 0
    for seed in range(60):
        values = 20 + planted.correlated_noise(np.random.default_rng(seed), 1008, 0.6)
        said += bool(regressions_of([judged(values)], [change(hour) for hour in (150, 300, 450, 600, 800)]))
    assert said <= 2


def test_a_value_seen_now_and_then_is_no_change():
    """A canary of a tenth of the runs changes nothing for most, and flapping back and forth in a day neither."""
    changes = RunChanges()
    for hour in range(200):
        for place in range(10):
            run = planted.RunWriter(start_ns=planted.MONDAY_NS + hour * HOUR_NS + place).done()
            changes.observe(replace(run, release="2" if place == 0 and hour > 100 else "1"))
    assert changes.changes() == ()


def test_what_changed_is_kept_in_bounded_memory():
    """However many releases and policies there are, a fixed number is counted."""
    changes = RunChanges()
    for number in range(500):
        run = planted.RunWriter(start_ns=planted.MONDAY_NS + number * HOUR_NS).done()
        arms = {f"policy-{number}": Assignment("treatment", "d", "canary-1")}
        changes.observe(replace(run, release=str(number), arms=arms))
    assert len(changes._counts) <= 60
    assert all(len(values) <= 30 for values in changes._counts.values())
