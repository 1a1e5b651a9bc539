"""What the engine says of conversations is what the code says, on the same spans."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import asdict

import pytest
from made_up import trace
from test_step_usage import compare

from otel_perfopt.analyse.context_growth import ContextGrowth
from otel_perfopt.analyse.next_steps import NextStepCounts
from otel_perfopt.analyse.repeat_use import RepeatUse
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.store_conversations import StoreConversations
from otel_perfopt.analyse.store_totals import StoreTotals
from otel_perfopt.execution.builder import executions_of
from otel_perfopt.execution.repetition import Repetitions
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import Window


@pytest.mark.parametrize("seed", range(3))
def test_repeats_transitions_and_contexts_are_those_of_the_code(store: TelemetryStore, seed: int):
    """Repeats and which of them were safe, reads again, what follows what, and how contexts grew are equal."""
    chance = random.Random(seed)
    spans = [span for number in range(300) for span in trace(chance, number, odd=0.0)]
    store.append(spans)
    repeat_use, steps, context, repetitions = RepeatUse(), NextStepCounts(), ContextGrowth(), Repetitions()
    left = StoreTotals.of(store, Window()).left_ids
    for run in (run for run in executions_of(spans) if run.trace_id not in left):
        RunView.of(run).repetition = repetitions.observe(run)
        for observer in (repeat_use, steps, context):
            observer.observe(run)
    found = StoreConversations.of(store, Window(), left=left)
    ours, theirs = found.repeat_use.result(), repeat_use.result()
    assert ours.repeats > ours.safe_repeats >= 3
    compare(asdict(ours), asdict(theirs))
    grown = asdict(context.result())
    compare(asdict(found.context.result()), grown, rel=0.03)
    pairs, triples, commands = steps.counts()
    assert found.transitions.tool_pairs == pairs
    assert found.transitions.tool_triples == triples
    assert found.transitions.command_pairs == commands
    assert isinstance(pairs, Counter)
    assert pairs
