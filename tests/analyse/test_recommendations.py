"""A finding becomes something to do: whom it touches, what it should bring, how to bring it in, what to watch."""

from __future__ import annotations

import json
import math

import numpy as np
import planted
import pytest
from planted import MONDAY_NS, SECOND, PlantedSource, RunWriter

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.report.document import report_document


def cached_runs(count=60):
    rng = np.random.default_rng(5)
    runs = []
    for place in range(count):
        writer = RunWriter("/query", f"c{place}", MONDAY_NS + place * 3600 * SECOND)
        for _again in range(2):
            writer.infer(rng.lognormal(0, 0.3))
            writer.tool("search", rng.lognormal(0, 0.3), arguments="same", gives=("v",))
        runs.append(writer.done())
    return runs


@pytest.fixture(scope="module")
def analysis():
    return analyse(PlantedSource(cached_runs()))


def test_a_repeat_becomes_a_recommended_cache(analysis):
    """The replayed saving, the bound, the policy's parameters and the finding it answers are all in one value."""
    item = next(item for item in analysis.recommendations if item.implementation.optimization == "tool_cache")
    (opportunity,) = [item for item in analysis.opportunities if item.optimization == "tool_cache"]
    assert item.prediction.share == opportunity.share
    assert item.prediction.bound == opportunity.bound_share
    assert not item.prediction.upper_bound
    assert item.implementation.parameters == {"ttl": "5m", "scope": "conversation"}
    assert any(label.startswith("repeated_call") for label in item.findings)
    assert (item.impact.runs, item.impact.share_of_runs) == (60, 1.0)
    assert item.impact.runs_a_day == pytest.approx(24, rel=0.05)
    assert item.impact.risks


def test_the_plan_says_how_many_conversations_a_verdict_takes(analysis):
    """A quarter less at a spread of some 0.15 shows with the least number; the days follow from the load."""
    plan = next(i for i in analysis.recommendations if i.implementation.optimization == "tool_cache").implementation
    assert plan.expected_units == 200
    assert plan.expected_days == pytest.approx(200 / 24, rel=0.05)
    exposures = [step.exposure for step in plan.steps]
    assert exposures == sorted(exposures)
    assert exposures[0] == 0


def test_what_is_only_a_bound_says_so():
    """Less thinking might save at most its share: no size of a trial follows from that."""
    runs = []
    for place in range(30):
        writer = RunWriter("/task", start_ns=MONDAY_NS + place * 3600 * SECOND)
        writer.think(4.0)
        writer.infer(2.0)
        runs.append(writer.done())
    item = next(
        item
        for item in analyse(PlantedSource(runs)).recommendations
        if item.implementation.optimization == "effort_routing"
    )
    assert item.prediction.upper_bound
    assert item.implementation.expected_units is None


def test_each_remedy_is_recommended_once(analysis):
    """Two findings with one remedy for one target are one recommendation, in the order of the findings."""
    keys = [(i.implementation.optimization, tuple(i.implementation.match.items())) for i in analysis.recommendations]
    assert len(keys) == len(set(keys))


def test_monitoring_names_metrics_that_are_emitted(analysis):
    """Every metric to watch is one of ours, and every alert one that the rules of a policy have."""
    for item in analysis.recommendations:
        assert item.monitoring
        for monitor in item.monitoring:
            assert monitor.metric.startswith("perfopt.")
            assert monitor.alert in {"PerfoptBenefitGone", "PerfoptHarmNear", "PerfoptRolledBack"}


def test_the_report_carries_recommendations_as_json(analysis):
    """The JSON document has them, with nothing that JSON cannot say."""
    document = json.loads(json.dumps(report_document(analysis), allow_nan=False))
    (first, *_) = document["recommendations"]
    assert {"impact", "prediction", "implementation", "monitoring", "findings"} <= first.keys()
    assert math.isfinite(first["prediction"]["share"]["estimate"])


def test_nothing_is_recommended_for_clean_runs():
    """No finding, no recommendation."""
    runs = planted.clean_runs(np.random.default_rng(1), 30)
    assert analyse(PlantedSource(runs)).recommendations == ()
