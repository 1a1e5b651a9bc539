"""Trees, own times and critical paths of single runs are those of the code, on every kind of table."""

from __future__ import annotations

import os
import random
import uuid
from collections import Counter
from dataclasses import replace

import pytest
from made_up import START, trace
from test_step_usage import compare_totals

from otel_perfopt.execution.builder import executions_of
from otel_perfopt.execution.critical_path import critical_path, self_times
from otel_perfopt.measure.sql.slices_of import slices_of
from otel_perfopt.measure.sql.step_times import step_times
from otel_perfopt.measure.store.address import StoreAddress
from otel_perfopt.measure.store.connection import Connection
from otel_perfopt.measure.store.spans_source import StoreSource
from otel_perfopt.measure.store.telemetry_store import TelemetryStore, open_store
from otel_perfopt.measure.store.window import Window
from store.exporter import TABLES, write


def spans_of(seed: int, traces: int):
    chance = random.Random(seed)
    return [span for number in range(traces) for span in trace(chance, number)]


@pytest.mark.parametrize("seed", range(3))
def test_every_step_has_the_times_of_the_code(store: TelemetryStore, seed: int):
    """Of each plain run: every span once, under its parent, with the own and critical time of `execution`."""
    spans = spans_of(seed, 300)
    store.append(spans)
    found = {}
    for step in step_times(store, slices_of(store, Window(), 700)):
        found.setdefault(step.trace_id, {})[step.span_id] = step
    runs = {run.trace_id: run for run in executions_of(spans) if run.trace_id in found}
    assert len(found) > 100
    for trace_id, steps in found.items():
        run = runs[trace_id]
        members = {span.span_id: span.parent_span_id for span in spans if span.trace_id == trace_id}
        assert {step.span_id: step.parent_span_id for step in steps.values()} == {
            span_id: parent if parent in members else "" for span_id, parent in members.items()
        }
        critical: Counter[str] = Counter()
        for segment in critical_path(run):
            critical[segment.step.span_id] += segment.length_ns
        own = self_times(run)
        for step in run.steps:
            if step.span_id in steps and step.kind.value != "other":
                assert steps[step.span_id].critical_ns == critical[step.span_id], (trace_id, step)
                assert steps[step.span_id].own_ns == own[step.span_id], (trace_id, step)
        head = next(step for step in steps.values() if step.command)
        if run.command.span_id:
            assert (head.span_id, head.own_ns) == (run.command.span_id, own[head.span_id])


@pytest.mark.parametrize("table", ["old", "items", "json"])
def test_a_collectors_table_is_added_up_alike(tmp_path, table: str):
    """On the exporter's tables, with spans delivered twice, the engine and the code still agree."""
    connection = Connection(StoreAddress(path=tmp_path / "store"))
    connection.run(TABLES[table])
    spans = spans_of(5, 150)
    again = [replace(span, end_ns=span.start_ns + (span.end_ns - span.start_ns) // 2) for span in spans[::7]]
    write(connection, [*spans, *again], typed=table.startswith("json"))
    connection.close()
    with open_store(tmp_path / "store", create=False) as store:
        compare_totals(store, list(StoreSource(store).executions()))


@pytest.mark.skipif(not os.environ.get("PERFOPT_CLICKHOUSE_URL"), reason="PERFOPT_CLICKHOUSE_URL names no server")
def test_a_server_says_the_same():
    """The same queries give the same numbers on a ClickHouse server, in a database of the test's own."""
    url = os.environ["PERFOPT_CLICKHOUSE_URL"].rstrip("/")
    name = f"perfopt_test_{uuid.uuid4().hex[:12]}"
    with_root = Connection(StoreAddress.parse(url))
    with_root.run(f"CREATE DATABASE {name}")
    try:
        with open_store(f"{url}/{name}") as store:
            store.append(spans_of(6, 200))
            compare_totals(store, list(StoreSource(store, Window(START - 10**12)).executions()))
    finally:
        with_root.run(f"DROP DATABASE {name}")
        with_root.close()
