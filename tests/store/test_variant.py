from __future__ import annotations

from dataclasses import replace

import pytest

from otel_perfopt import conventions as c
from otel_perfopt.errors import StoreError
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.measure.store.address import StoreAddress
from otel_perfopt.measure.store.connection import Connection
from otel_perfopt.measure.store.hot_columns import HOT_NAMES
from otel_perfopt.measure.store.spans_source import StoreSource
from otel_perfopt.measure.store.telemetry_store import open_store
from otel_perfopt.measure.store.upkeep import compact, export_parquet, store_info
from otel_perfopt.measure.store.variant import TableKind
from otel_perfopt.signal.read.recorded import open_recorded
from otel_perfopt.signal.record import SpanEvent, SpanRecord
from store.exporter import TABLES, table_ddl, write
from store.otlp import write_runs
from store.records import SECOND, START, run

KINDS = {
    "old": TableKind.EXPORTER_MAP,
    "map": TableKind.EXPORTER_MAP,
    "items": TableKind.EXPORTER_ITEMS,
    "full-text": TableKind.EXPORTER_ITEMS,
    "json": TableKind.EXPORTER_JSON,
    "json with keys": TableKind.EXPORTER_JSON,
}


def foreign_spans() -> list[list[SpanRecord]]:
    """Return traces in the words of each family of instrumentations, with what the exporter turns into text."""

    def span(number: int, place: int, name: str, attributes: dict, **more) -> SpanRecord:
        begin = START + number * 100 * SECOND + place * SECOND
        parent = "" if place == 0 else f"{number * 100 + 1:016x}"
        return SpanRecord(
            f"{number + 1:032x}", f"{number * 100 + place + 1:016x}", parent, name, begin, begin + (10 - place) * SECOND,
            attributes, {"service.name": f"service-{number}", "process.pid": 4711}, **more,
        )  # fmt: skip

    failed = (SpanEvent("exception", START + 5, {"exception.type": "TimeoutError", "exception.message": "secret"}),)
    judged = (SpanEvent("gen_ai.evaluation.result", START, {"gen_ai.evaluation.score.value": 0.5}),)
    official = [
        span(0, 0, "invoke_agent shop", {"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "12345"}),
        span(
            0,
            1,
            "chat gpt",
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "gpt-5",
                "gen_ai.usage.input_tokens": 1200,
                "gen_ai.usage.output_tokens": 30,
                "gen_ai.response.finish_reasons": ("tool_calls",),
                "gen_ai.input.messages": "[secret]",
            },
            events=judged,
        ),
        span(
            0,
            2,
            "execute_tool search",
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": "search",
                "gen_ai.tool.call.arguments": '{"query": "blue whale"}',
                "gen_ai.tool.call.result": "a whale of a result",
            },
            error_type="TimeoutError",
            events=failed,
        ),
    ]
    openinference = [
        span(1, 0, "agent", {"openinference.span.kind": "AGENT", "session.id": "s-1", "user.id": "u"}),
        span(
            1,
            1,
            "llm",
            {
                "openinference.span.kind": "LLM",
                "llm.model_name": "claude",
                "llm.token_count.prompt": 500,
                "llm.token_count.completion": 20,
                "llm.token_count.prompt_details.cache_read": 100,
                "llm.input_messages.0.message.content": "secret",
            },
        ),
        span(1, 2, "tool", {"openinference.span.kind": "TOOL", "tool.name": "lookup", "input.value": '{"id": 7}'}),
    ]
    claude_code = [
        span(2, 0, "claude_code.interaction", {"session.id": "s-2", "user_prompt": "secret"}),
        span(
            2,
            1,
            "claude_code.llm_request",
            {"model": "opus", "input_tokens": 9, "output_tokens": 4, "cache_read_tokens": 1000, "ttft_ms": 350},
        ),
        span(2, 2, "claude_code.tool", {"tool_name": "Read", "file_path": "/a.py", "success": False}),
    ]
    return [official, openinference, claude_code, run(50), run(51, command="/book")]


@pytest.fixture(params=list(TABLES))
def filled(request, tmp_path):
    """A store whose table an exporter of one kind made and filled, and the kind's name."""
    address = StoreAddress(path=tmp_path / "store")
    connection = Connection(address)
    connection.run(TABLES[request.param])
    for spans in foreign_spans():
        write(connection, spans, typed=request.param.startswith("json"))
    connection.close()
    with open_store(address, create=False) as store:
        yield store, request.param


def without_places(records) -> dict:
    return {(span.trace_id, span.span_id): replace(span, location="") for span in records}


def test_an_exporters_table_reads_as_the_same_spans_in_a_file(filled, tmp_path):
    """Whatever exporter version filled the table, its spans and runs are those that a file of them gives."""
    store, kind = filled
    assert store.variant.kind is KINDS[kind]
    path = tmp_path / "spans.jsonl"
    write_runs(path, foreign_spans())
    read = without_places(span for batch in open_recorded([path]).batches() for span in batch)
    found = without_places(span for batch in StoreSource(store).batches() for span in batch)
    for key, span in read.items():
        stored = found[key]
        assert stored.attributes == span.attributes, span.name
        assert replace(stored, resource={}) == replace(span, resource={})
        assert stored.resource["service.name"] == span.resource["service.name"]
    assert found.keys() == read.keys()
    assert "secret" not in repr(found)
    strip = lambda runs: sorted(  # noqa: E731
        (run.trace_id, run.command.name, run.duration_s, run.conversation_id, run.outcome, run.tokens, len(run.steps))
        for run in runs
    )
    key = [str(each) for each in strip(StoreSource(store).executions())]
    assert key == [str(each) for each in strip(RecordedExecutions(open_recorded([path])).executions())]


def test_hot_fields_mean_the_same_on_every_table(filled):
    """The SQL of a hot field gives on a foreign table what our reading of its rows says."""
    store, _ = filled
    wanted = {
        "StepKind": c.STEP_KIND,
        "Operation": c.GEN_AI_OPERATION_NAME,
        "Command": c.COMMAND_NAME,
        "Tool": c.GEN_AI_TOOL_NAME,
        "ConversationId": c.GEN_AI_CONVERSATION_ID,
        "UserId": c.USER_ID,
        "InputTokens": c.GEN_AI_USAGE_INPUT_TOKENS,
        "OutputTokens": c.GEN_AI_USAGE_OUTPUT_TOKENS,
        "CacheReadTokens": c.GEN_AI_USAGE_CACHE_READ_TOKENS,
        "TimeToFirstToken": c.TIME_TO_FIRST_TOKEN,
    }
    columns = ", ".join(store.hot(name) for name in wanted)
    rows = store.connection.rows(f"SELECT TraceId, SpanId, {columns} FROM {store.spans}")
    said = {(row[0], row[1]): dict(zip(wanted, row[2:], strict=True)) for row in rows}
    records = {(span.trace_id, span.span_id): span for batch in StoreSource(store).batches() for span in batch}
    for key, span in records.items():
        for name, attribute in wanted.items():
            expected = span.attributes.get(attribute)
            found = said[key][name]
            assert (found or None) == (expected or None), (span.name, name)
    for name in HOT_NAMES:
        store.connection.rows(f"SELECT {store.hot(name)} FROM {store.spans}")


def test_a_collectors_table_is_only_read(filled, tmp_path):
    """Importing into it, or compacting it, is refused with the reason; counting and export work."""
    store, _ = filled
    with pytest.raises(StoreError, match="filled by a Collector"):
        store.append(run(0))
    with pytest.raises(StoreError, match="Collector's"):
        compact(store)
    info = store_info(store)
    assert (info.spans, info.traces) == (17, 5)
    assert not info.promoted
    assert export_parquet(store, tmp_path / "out")


def test_a_table_of_another_kind_is_named(tmp_path):
    """A table called otel_traces that no exporter made is refused, naming what is missing."""
    connection = Connection(StoreAddress(path=tmp_path / "store"))
    connection.run(table_ddl("Map(String, String)").replace("StatusCode", "Status"))
    connection.close()
    with pytest.raises(StoreError, match="no column StatusCode"):
        open_store(tmp_path / "store")
