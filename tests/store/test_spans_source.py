from __future__ import annotations

import random
from dataclasses import replace

import pytest

from otel_perfopt.execution.builder import executions_of
from otel_perfopt.measure.store.sample import Sample
from otel_perfopt.measure.store.spans_source import StoreSource
from otel_perfopt.measure.store.window import Window
from store.records import SECOND, START, run


def crowded() -> list:
    """Return runs of every awkward shape: long ones over many short ones, several at one moment, one without a clock."""
    chance = random.Random(3)
    spans = [span for number in range(120) for span in run(number, start_ns=START + number * 7 * SECOND, tools=2)]
    for number in range(200, 206):
        begin = START + chance.randrange(600) * SECOND
        root, *steps = run(number, start_ns=begin, tools=12)
        spread = [
            replace(step, start_ns=step.start_ns + place * 90 * SECOND, end_ns=step.end_ns + place * 90 * SECOND)
            for place, step in enumerate(steps)
        ]
        spans += [replace(root, end_ns=begin + 1200 * SECOND), *spread]
    spans += [span for number in range(300, 340) for span in run(number, start_ns=START + 100 * SECOND, tools=1)]
    spans += run(400, start_ns=0)
    return spans


@pytest.mark.parametrize("batch_spans", [7, 50, 100_000])
def test_every_trace_comes_whole_and_once_whatever_the_batch(store, batch_spans):
    """Batches hold whole traces, all of them, in order of their start, and none far over the size asked for."""
    spans = crowded()
    store.append(spans)
    batches = list(StoreSource(store, batch_spans=batch_spans).batches())
    homes: dict[str, set[int]] = {}
    for number, batch in enumerate(batches):
        for span in batch:
            homes.setdefault(span.trace_id, set()).add(number)
    assert all(len(numbers) == 1 for numbers in homes.values())
    read = [span for batch in batches for span in batch]
    assert len(read) == len(spans)
    assert set(map(repr, read)) == set(map(repr, spans))
    if batch_spans == 50:
        assert max(map(len, batches)) <= 100
        starts = [min(span.start_ns for span in batch) for batch in batches]
        assert starts == sorted(starts)


def test_a_window_gives_the_runs_that_begin_in_it(store):
    """A run belongs to the window it begins in, with all its steps, also those after the window's end."""
    spans = crowded()
    store.append(spans)
    window = Window(START + 50 * SECOND, START + 400 * SECOND)
    found = {run.trace_id: run for run in StoreSource(store, window, batch_spans=40).executions()}
    expected = {
        run.trace_id: run for run in executions_of(spans) if window.start_ns <= run.command.start_ns < window.end_ns
    }
    assert found == expected


def test_a_sample_shows_every_command_and_says_so(store):
    """A sample is about as large as asked, the same each time, whole traces, and keeps the rare command."""
    spans = [span for number in range(900) for span in run(number, tools=1)]
    spans += [span for number in range(900, 920) for span in run(number, tools=1, command="/rare")]
    store.append(spans)
    source = StoreSource(store, sample=Sample(300))
    runs = list(source.executions())
    assert 230 <= len(runs) <= 370
    assert sum(run.command.name == "/rare" for run in runs) == 20
    assert all(len(run.steps) == 1 for run in runs)
    assert "of 920 traces" in source.notes[0]
    again = StoreSource(store, sample=Sample(300))
    assert [run.trace_id for run in again.executions()] == [run.trace_id for run in runs]
    other = StoreSource(store, sample=Sample(300, seed=1))
    assert [run.trace_id for run in other.executions()] != [run.trace_id for run in runs]
    everything = StoreSource(store, sample=Sample(5000))
    assert sum(1 for _ in everything.executions()) == 920
    assert everything.notes == ()


def test_an_empty_store_has_no_runs(store):
    """Nothing is a value: no batch, no error."""
    source = StoreSource(store)
    assert list(source.executions()) == []
    assert source.tally.spans == 0


@pytest.mark.parametrize("seed", range(4))
def test_slices_tile_any_window(store, seed):
    """Whatever starts, window and batch size, the traces read are those that begin in the window, each once."""
    chance = random.Random(seed)
    starts = [START + int(chance.paretovariate(0.5) * SECOND) % (10**6 * SECOND) for _ in range(150)]
    store.append([span for number, begin in enumerate(starts) for span in run(number, start_ns=begin, tools=1)])
    for _ in range(3):
        low, high = sorted((chance.choice(starts), chance.choice(starts) + chance.randrange(SECOND)))
        source = StoreSource(store, Window(low, high), batch_spans=chance.choice([3, 20]))
        found = sorted(span.trace_id for batch in source.batches() for span in batch if not span.parent_span_id)
        assert found == sorted(f"{number + 1:032x}" for number, begin in enumerate(starts) if low <= begin < high)
