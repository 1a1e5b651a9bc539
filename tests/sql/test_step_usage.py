"""What the engine adds up is what the code adds up, run by run, on the same spans."""

from __future__ import annotations

import random
from dataclasses import asdict

import pytest
from made_up import trace

from otel_perfopt.analyse.store_totals import StoreTotals
from otel_perfopt.analyse.totals import Totals
from otel_perfopt.analyse.usage_table import UsageTable
from otel_perfopt.execution.builder import executions_of
from otel_perfopt.measure.series import SeriesBuilder
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import Window


def flat(value):
    """Return nested results as rows that pytest can compare approximately."""
    if isinstance(value, dict):
        return {f"{name}.{inner}": item for name, each in value.items() for inner, item in flat(each).items()}
    if isinstance(value, list | tuple):
        return flat(dict(enumerate(value)))
    return {"": value}


def compare(found, wanted, rel=1e-9):
    """Hold that two nested results are equal, numbers approximately."""
    ours, theirs = flat(found), flat(wanted)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        near = pytest.approx(value, rel=rel) if isinstance(value, int | float) else value
        assert ours[name] == near, name


@pytest.mark.parametrize("seed", range(4))
def test_totals_usage_and_series_are_those_of_the_code(store: TelemetryStore, seed: int):
    """Counts, times, critical and own time, tokens, cost and hours are equal, on plain traces and on broken ones."""
    chance = random.Random(seed)
    spans = [span for number in range(400) for span in trace(chance, number)]
    store.append(spans)
    totals, usage, series = Totals(), UsageTable(), SeriesBuilder()
    for run in executions_of(spans):
        if run.finished:
            totals.observe(run)
            usage.observe(run)
            series.add(run)
    found = StoreTotals.of(store, Window())
    assert 0.3 < 1 - found.left / 400 < 0.95
    ours, theirs = asdict(found.counts()), asdict(totals.counts())
    unfinished = sum(not run.finished for run in executions_of(spans))
    assert ours.pop("unfinished_runs") == unfinished + theirs.pop("unfinished_runs")
    # The engine looks at a trace as a whole; a second or open run of one may belong to another conversation.
    assert ours.pop("conversations") == pytest.approx(theirs.pop("conversations"), abs=unfinished)
    compare(ours, theirs)
    compare([found.totals.window_ns(), asdict(found.totals.tokens), found.totals.cost_usd],
            [totals.window_ns(), asdict(totals.tokens), totals.cost_usd])  # fmt: skip
    for what in ("commands", "models", "tools"):
        rows, theirs = getattr(found.usage, what)(), getattr(usage, what)()
        compare(sorted(map(asdict, rows), key=str), sorted(map(asdict, theirs), key=str))
    compare({one.what: one.total_s for one in found.usage.time_shares()},
            {one.what: one.total_s for one in usage.time_shares()})  # fmt: skip
    ours = {(one.metric, str(one.target)): one for one in found.hours.all()}
    for one in series.all():
        compare(asdict(ours[one.metric, str(one.target)]), asdict(one))
