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
from otel_perfopt.execution.model import Execution
from otel_perfopt.measure.price import PriceBand, PriceTable, priced
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


def compare_totals(store: TelemetryStore, runs: list[Execution]) -> StoreTotals:
    """Hold that the store says of all runs what the code says of them."""
    totals, usage, series = Totals(), UsageTable(), SeriesBuilder()
    for run in runs:
        if run.finished:
            totals.observe(run)
            usage.observe(run)
            series.add(run)
    found = StoreTotals.of(store, Window())
    ours, theirs = asdict(found.counts()), asdict(totals.counts())
    unfinished = sum(not run.finished for run in runs)
    assert ours.pop("unfinished_runs") == unfinished + theirs.pop("unfinished_runs")
    # The engine looks at a trace as a whole; a second or open run of one may belong to another conversation.
    assert ours.pop("conversations") == pytest.approx(theirs.pop("conversations"), abs=found.left)
    compare(ours, theirs)
    compare(
        [found.totals.window_ns(), asdict(found.totals.tokens), found.totals.cost_usd],
        [totals.window_ns(), asdict(totals.tokens), totals.cost_usd],
    )
    for what in ("commands", "models", "tools"):
        rows, wanted = getattr(found.usage, what)(), getattr(usage, what)()
        compare(sorted(map(asdict, rows), key=str), sorted(map(asdict, wanted), key=str))
    compare(
        {one.what: one.total_s for one in found.usage.time_shares()},
        {one.what: one.total_s for one in usage.time_shares()},
    )
    hours = {(one.metric, str(one.target)): one for one in found.hours.all()}
    for one in series.all():
        compare(asdict(hours[one.metric, str(one.target)]), asdict(one))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_totals_usage_and_series_are_those_of_the_code(store: TelemetryStore, seed: int):
    """Counts, times, critical and own time, tokens, cost and hours are equal, on plain traces and on broken ones."""
    chance = random.Random(seed)
    spans = [span for number in range(400) for span in trace(chance, number)]
    store.append(spans)
    found = compare_totals(store, executions_of(spans))
    assert 0.3 < 1 - found.left / 400 < 0.95


def test_list_prices_are_those_of_the_code(store: TelemetryStore):
    """Calls that state no cost are priced by the call's model and length of prompt, as run by run."""
    chance = random.Random(9)
    spans = [span for number in range(200) for span in trace(chance, number)]
    store.append(spans)
    cheap, dear = PriceBand(1.0, 5.0, 0.1, 1.25, 4000), PriceBand(2.0, 10.0)
    prices = PriceTable({"large": (cheap, dear), "small": (PriceBand(0.5, 0.5),)})
    totals = Totals()
    for run in executions_of(spans):
        if run.finished:
            totals.observe(priced(run, prices))
    assert StoreTotals.of(store, Window(), prices=prices).totals.cost_usd == pytest.approx(totals.cost_usd)
