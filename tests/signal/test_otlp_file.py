from __future__ import annotations

import base64
import gzip
import json
import random
from contextlib import suppress

import pytest
from opentelemetry.exporter.otlp.json.file import FileSpanExporter
from opentelemetry.proto_json.trace.v1.trace import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_perfopt import conventions as c
from otel_perfopt.signal.read.last_places import LastPlaces
from otel_perfopt.signal.read.otlp_file import OtlpFileSource
from otel_perfopt.signal.read.otlp_line import attributes_of, spans_of

START = 1_760_000_000_000_000_000


def value_of(value):
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [value_of(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": pairs(value)}}
    return {"stringValue": value}


def pairs(attributes):
    return [{"key": key, "value": value_of(value)} for key, value in attributes.items()]


def raw_span(trace, span, attributes=None, parent=0, **more):
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{span:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": f"span {span}",
        "kind": 1,
        "startTimeUnixNano": str(START + span),
        "endTimeUnixNano": str(START + span + 1_000_000),
        "attributes": pairs(attributes or {}),
        "status": {},
        **more,
    }


def line(*spans, service="svc", scope="its.scope"):
    resource = {"attributes": pairs({"service.name": service})}
    return json.dumps(
        {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": scope}, "spans": spans}]}]}
    )


def read(*paths):
    source = OtlpFileSource(list(paths))
    return list(source.batches()), source.tally


def test_spans_of_a_trace_come_together_from_many_lines_and_files(tmp_path):
    """Whatever the order of lines over two files, plain and gzip, each trace is in exactly one batch and whole."""
    rng = random.Random(7)
    spans = [raw_span(trace, trace * 100 + number) for trace in range(1, 40) for number in range(5)]
    rng.shuffle(spans)
    lines = [line(*spans[at : at + 3]) for at in range(0, len(spans), 3)]
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    first.write_text("\n".join(lines[:30]) + "\n")
    second.write_bytes(gzip.compress("\n".join(lines[30:]).encode()))
    batches, tally = read(first, second)
    traces = [span.trace_id for batch in batches for span in batch]
    in_batches = [{span.trace_id for span in batch} for batch in batches]
    assert len(traces) == tally.spans == 39 * 5
    assert sum(len(ids) for ids in in_batches) == 39
    assert not tally.problem_counts
    assert tally.files == 2


def test_a_trace_leaves_as_soon_as_it_is_whole(tmp_path):
    """Traces that follow one another are handed on one by one: memory holds only those under way."""
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(line(raw_span(trace, trace)) for trace in range(1, 50)))
    batches, _ = read(path)
    assert [len(batch) for batch in batches] == [1] * 49


def test_our_decoding_agrees_with_the_official_codec(tmp_path):
    """Ids, names, times, status, attributes of every type and events are what opentelemetry.proto_json reads."""
    attributes = {
        "text": "é",
        "yes": True,
        "no": False,
        "whole": -(2**53) - 1,
        "part": 0.25,
        "list": ["a", "b"],
        "ints": [1, 2],
    }
    event = {"timeUnixNano": str(START + 5), "name": "exception", "attributes": pairs({"exception.type": "KeyError"})}
    text = line(raw_span(3, 4, attributes, parent=2, events=[event], status={"code": 2, "message": "no"}))
    (ours,) = spans_of(json.loads(text), "f:1", pytest.fail)
    official = TracesData.from_json(text).resource_spans[0].scope_spans[0].spans[0]

    def plain(value):
        for field in ("string_value", "bool_value", "int_value", "double_value"):
            if getattr(value, field) is not None:
                return getattr(value, field)
        return tuple(plain(item) for item in value.array_value.values)

    assert ours.trace_id == official.trace_id.hex()
    assert ours.span_id == official.span_id.hex()
    assert ours.parent_span_id == official.parent_span_id.hex()
    assert (ours.name, ours.start_ns, ours.end_ns) == (
        official.name,
        official.start_time_unix_nano,
        official.end_time_unix_nano,
    )
    said = {item.key: plain(item.value) for item in official.attributes}
    assert {key: value for key, value in ours.attributes.items() if key != c.ERROR_TYPE} == said
    assert [(item.name, item.time_ns) for item in ours.events] == [
        (item.name, item.time_unix_nano) for item in official.events
    ]
    assert ours.error_type == "KeyError"
    assert official.status.code == 2


def test_what_the_official_exporter_writes_is_read(tmp_path):
    """Spans written by the SDK through the official JSON file exporter come back with ids, parents, times and error."""
    path = tmp_path / "spans.jsonl"
    provider = TracerProvider(resource=Resource({"service.name": "svc"}))
    provider.add_span_processor(SimpleSpanProcessor(FileSpanExporter(str(path))))
    tracer = provider.get_tracer("its.scope")
    said = {"gen_ai.operation.name": "execute_tool", "n": 3, "list": ["a"]}
    with (
        tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}) as outer,
        suppress(KeyError),
        tracer.start_as_current_span("execute_tool t", attributes=said) as inner,
    ):
        raise KeyError("x")
    provider.shutdown()
    (batch,), tally = read(path)
    found = {span.name: span for span in batch}
    tool = found["execute_tool t"]
    assert not tally.problem_counts
    assert tool.trace_id == f"{outer.get_span_context().trace_id:032x}"
    assert tool.parent_span_id == found["agent"].span_id == f"{outer.get_span_context().span_id:016x}"
    assert (tool.start_ns, tool.end_ns) == (inner.start_time, inner.end_time)
    assert (tool.error_type, tool.attributes["n"], tool.attributes["list"]) == ("KeyError", 3, ("a",))
    assert tool.attributes[c.STEP_KIND] == "tool"
    assert (tool.scope, tool.resource["service.name"]) == ("its.scope", "svc")


def test_nested_values_become_json_text():
    """A map, and a list of maps, are kept as JSON: a record's attributes are flat."""
    found = attributes_of(pairs({"map": {"a": 1}, "maps": [{"a": 1}]}))
    assert {key: json.loads(value) for key, value in found.items()} == {"map": {"a": 1}, "maps": [{"a": 1}]}


def test_metrics_and_logs_are_passed_over_without_complaint(tmp_path):
    """The exporter may write all signals into one file; only spans are taken."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"resourceMetrics":[]}\n{"resourceLogs":[]}\n' + line(raw_span(1, 1)) + "\n")
    batches, tally = read(path)
    assert [len(batch) for batch in batches] == [1]
    assert not tally.problem_counts


def test_what_is_no_span_is_told_with_its_line(tmp_path):
    """A span without a valid id or time, a cut line and a foreign object cost only themselves."""
    bad = [raw_span(1, 2) | {"traceId": "xyz"}, raw_span(1, 3) | {"startTimeUnixNano": "soon"}]
    whole = line(raw_span(1, 1))
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([line(*bad), whole[:60] + whole, '{"other": 1}', line(raw_span(1, 9))]))
    batches, tally = read(path)
    assert [span.span_id[-1] for batch in batches for span in batch] == ["1", "9"]
    assert [(problem.kind, problem.line) for problem in tally.problems] == [
        ("broken_span", 1),
        ("broken_span", 1),
        ("broken_line", 2),
        ("broken_span", 3),
    ]


def test_ids_in_protobufs_own_json_are_read(tmp_path):
    """Base64 ids, which protobuf's generic JSON mapping writes, give the same ids."""
    span = raw_span(0xABC, 0xDEF)
    path = tmp_path / "a.jsonl"
    path.write_text(
        line(span | {key: base64.b64encode(bytes.fromhex(span[key])).decode() for key in ("traceId", "spanId")})
    )
    ((record,),), _ = read(path)
    assert (record.trace_id, record.span_id) == (span["traceId"], span["spanId"])


def test_last_places_survive_growth():
    """Every one of many ids keeps the last place it was noted at; an unknown id has none."""
    places = LastPlaces()
    for round_number in (1, 2):
        for number in range(20_000):
            places.note(f"id {number}", round_number * 100_000 + number)
    assert all(places.last(f"id {number}") == 200_000 + number for number in range(20_000))
    assert places.last("never") == 0
