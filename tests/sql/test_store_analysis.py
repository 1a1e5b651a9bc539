"""An analysis of a store: the same as of files where all is read, and of all spans where a sample is."""

from __future__ import annotations

import random

import pytest
from made_up import trace

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.store_analysis import StoreQuestion, analyse_store
from otel_perfopt.analyse.store_sample import LEAST_TRACES, traces_needed
from otel_perfopt.analyse.store_workers import observe_over_workers
from otel_perfopt.measure.price import PriceTable
from otel_perfopt.measure.sql.run_spread import RunSpread
from otel_perfopt.measure.store.sample import Sample
from otel_perfopt.measure.store.spans_source import StoreSource
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.signal.source import ReadTally
from store.records import run


def filled(store: TelemetryStore, runs: int):
    spans = [span for number in range(runs) for span in run(number, tools=1 + number % 4, command=f"/c{number % 3}")]
    store.append(spans)
    return spans


def test_what_is_small_is_read_whole(store: TelemetryStore):
    """Below the sample's size the analysis is that of the runs themselves."""
    filled(store, 60)
    assert analyse_store(store) == analyse(StoreSource(store))


def test_of_a_sample_only_what_needs_one_is_sampled(store: TelemetryStore):
    """Counts, usage, hours, sequences and repeats are of all runs, and the notes say what is not."""
    filled(store, 900)
    whole = analyse(StoreSource(store))
    found = analyse_store(store, StoreQuestion(traces=200))
    for what in ("counts", "window_ns", "commands", "tools", "tokens", "time_shares", "repetition"):
        assert str(getattr(found, what)) == str(getattr(whole, what)), what
    assert found.next_steps.tool_bigrams == whole.next_steps.tool_bigrams
    assert found.next_steps.command_bigrams == whole.next_steps.command_bigrams
    assert [one.series for one in found.histories] == [one.series for one in whole.histories]
    assert found.tally.spans == whole.tally.spans
    said = " ".join(found.notes)
    assert "of all runs" in said
    assert "200 of 900 traces" in said


def test_a_sample_holds_whole_conversations(store: TelemetryStore):
    """Runs of one conversation are read together or not at all, so that what it repeats is seen."""
    filled(store, 900)
    source = StoreSource(store, sample=Sample(300))
    sizes: dict[str, int] = {}
    for execution in source.executions():
        sizes[execution.conversation_id] = sizes.get(execution.conversation_id, 0) + 1
    assert 40 < len(sizes) < 120
    assert set(sizes.values()) == {4}


def test_a_narrower_interval_reads_more():
    """Half the width takes four times the traces; runs that are all alike need no more than the least."""
    spread = [RunSpread("/a", 900_000, 2.0, 4.0, 1), RunSpread("/b", 100_000, 20.0, 100.0, 1)]
    assert traces_needed(spread, 0.01) == pytest.approx(4 * traces_needed(spread, 0.02), rel=0.001)
    assert traces_needed([RunSpread("/a", 10**6, 2.0, 0.0, 1)]) == LEAST_TRACES
    assert traces_needed([]) == LEAST_TRACES


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_workers_change_nothing(monkeypatch: pytest.MonkeyPatch, backend: str):
    """Observers shared out over two processes find what they find in one."""
    monkeypatch.setattr("otel_perfopt.analyse.store_workers.FEW_SPANS", 10)
    chance = random.Random(3)
    batches = [[span for number in range(40) for span in trace(chance, 100 * place + number)] for place in range(4)]
    prices = PriceTable.shipped()
    alone = observe_over_workers(batches, prices=prices, seed=1, workers=1, backend="serial")
    if backend == "dask":
        distributed = pytest.importorskip("distributed")
        with (
            distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster),
        ):
            shared = observe_over_workers(batches, prices=prices, seed=1, workers=2, backend=backend)
    else:
        shared = observe_over_workers(batches, prices=prices, seed=1, workers=2, backend=backend)
    assert str(shared.result(ReadTally())) == str(alone.result(ReadTally()))
