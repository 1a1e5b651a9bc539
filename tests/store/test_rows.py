from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_perfopt.measure.store.spans_source import StoreSource
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.signal.read.recorded import open_recorded
from store.records import odd_records, run


def read_back(store: TelemetryStore) -> dict:
    return {(span.trace_id, span.span_id): span for batch in StoreSource(store).batches() for span in batch}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(odd_records, max_size=12, unique_by=lambda record: record.span_id))
def test_a_record_comes_back_as_it_went_in(store: TelemetryStore, records):
    """Whatever a record holds (odd text, any types, times out of range), reading gives an equal one."""
    store.connection.run("TRUNCATE TABLE otel_traces")
    store.append(records)
    found = read_back(store)
    assert found == {(record.trace_id, record.span_id): record for record in records}
    for record in records:
        again = found[record.trace_id, record.span_id]
        for said, kept in ((record.attributes, again.attributes), (record.resource, again.resource)):
            assert {name: type(value) for name, value in said.items()} == {
                name: type(value) for name, value in kept.items()
            }


@pytest.mark.parametrize("start_ns", [1 << 62, 1 << 63, 1 << 64, (1 << 32) * 10**9, -1])
def test_times_that_no_column_holds_are_kept(store: TelemetryStore, start_ns):
    """A span dated past what the table's order can hold is found beside one of today."""
    record = run(0, tools=1)[0]
    odd = replace(record, span_id="f" * 16, start_ns=start_ns)
    store.append([record, odd])
    assert read_back(store) == {(span.trace_id, span.span_id): span for span in (record, odd)}


@pytest.mark.parametrize("folder", ["claude-code", "tau-bench", "lmcache-agent-trace/taubench"])
def test_recorded_sessions_come_back_as_they_were_read(store: TelemetryStore, shared_data, folder):
    """Real recordings of every reader pass through the store without loss."""
    read = [span for batch in open_recorded([shared_data / folder]).batches() for span in batch]
    store.append(read)
    longest = {}
    for span in read:
        kept = longest.get((span.trace_id, span.span_id))
        if kept is None or span.end_ns > kept.end_ns:
            longest[span.trace_id, span.span_id] = span
    assert longest
    assert read_back(store) == longest
