"""The OTLP/HTTP receiver: what is taken, what is refused, and that nothing is acknowledged before it is on disk."""

from __future__ import annotations

import gzip
import json
import os
import zlib

import pytest
from console_parts import console
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_perfopt.console.otlp_request import JSON, LOGS, PROTOBUF, TRACES, RefusedError, export_of, unpacked
from otel_perfopt.console.receiver import MOST_AT_ONCE, MOST_BYTES
from otel_perfopt.signal.read.recorded import open_recorded

NOW = 1_790_000_000_000_000_000


def request_of(spans=1, trace=b"\x01" * 16):
    """Return an export with spans of one trace; ids of the protobuf kind."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = resource.scope_spans.add()
    for number in range(spans):
        span = scope.spans.add(trace_id=trace, span_id=(number + 1).to_bytes(8, "big"), name="command /task", kind=3)
        span.start_time_unix_nano, span.end_time_unix_nano = NOW, NOW + 10**9
        span.attributes.add(key="perfopt.step.kind").value.string_value = "command"
        span.attributes.add(key="perfopt.command.name").value.string_value = "/task"
        span.attributes.add(key="long").value.int_value = 2**62
    return request


def send(visitor, path, body, content_type=PROTOBUF, **headers):
    return visitor.client.post(path, content=body, headers={"content-type": content_type, **headers})


def read_back(home):
    return [span for batch in open_recorded([home / "telemetry"]).batches() for span in batch]


@pytest.mark.parametrize("packed", [False, True])
def test_protobuf_is_kept_as_the_reader_reads_it(visitor, packed):
    """Every span is found again with its ids, times and attributes, and the answer is an empty success."""
    body = request_of(3).SerializeToString()
    extra = {"content-encoding": "gzip"} if packed else {}
    answer = send(visitor, "/v1/traces", gzip.compress(body) if packed else body, **extra)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == PROTOBUF
    assert not ExportTraceServiceResponse.FromString(answer.content).HasField("partial_success")
    spans = read_back(visitor.desk.settings.home)
    assert [(one.trace_id, one.span_id) for one in spans] == [("01" * 16, f"{number:016x}") for number in (1, 2, 3)]
    assert spans[0].attributes["long"] == 2**62
    assert spans[0].resource["service.name"] == "shop"


def test_json_is_kept_as_it_came(visitor):
    """OTLP JSON with hex ids goes through, and the loop sees the run on its next turn."""
    span = {
        "traceId": "ab" * 16,
        "spanId": "cd" * 8,
        "name": "command /x",
        "startTimeUnixNano": str(NOW),
        "endTimeUnixNano": str(NOW + 10**9),
        "attributes": [{"key": "perfopt.step.kind", "value": {"stringValue": "command"}}],
    }
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    answer = send(visitor, "/v1/traces", body, JSON)
    assert (answer.status_code, answer.json()) == (200, {})
    visitor.desk.loop.look_now(20)
    assert visitor.desk.loop.seen.runs == 1
    assert visitor.get(f"/runs/{'ab' * 16}").status_code == 200


def test_what_cannot_be_read_is_told_and_the_rest_kept(visitor):
    """Partial success counts the spans that no reader could read, and says why."""
    request = request_of(2)
    request.resource_spans[0].scope_spans[0].spans[0].trace_id = b""
    answer = ExportTraceServiceResponse.FromString(send(visitor, "/v1/traces", request.SerializeToString()).content)
    assert answer.partial_success.rejected_spans == 1
    assert "traceId" in answer.partial_success.error_message
    assert len(read_back(visitor.desk.settings.home)) == 1


def test_logs_and_metrics_have_their_places(visitor):
    """Logs go beside the spans, where their reader looks; metrics to the agents' metrics."""
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=NOW, event_name="codex.x")
    metrics = ExportMetricsServiceRequest()
    metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="m").gauge.data_points.add(as_int=1)
    assert send(visitor, "/v1/logs", logs.SerializeToString()).status_code == 200
    assert send(visitor, "/v1/metrics", metrics.SerializeToString()).status_code == 200
    home = visitor.desk.settings.home
    (told,) = [
        json.loads(line) for path in (home / "telemetry").glob("*.jsonl") for line in path.read_text().splitlines()
    ]
    assert told["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["eventName"] == "codex.x"
    (measured,) = [
        json.loads(line) for path in (home / "metrics").glob("*.jsonl") for line in path.read_text().splitlines()
    ]
    assert measured["resourceMetrics"]


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "status", "says"),
    [
        (b"x", "text/plain", {}, 415, "application/x-protobuf"),
        (b"\xff\xff", PROTOBUF, {}, 400, "ExportTraceServiceRequest"),
        (b"{", JSON, {}, 400, "JSON"),
        (b"[]", JSON, {}, 400, "resourceSpans"),
        (b'{"resourceSpans": {}}', JSON, {}, 400, "resourceSpans"),
        (b"x", PROTOBUF, {"content-encoding": "br"}, 415, "gzip"),
        (b"x", PROTOBUF, {"content-encoding": "gzip"}, 400, "gzip"),
        (gzip.compress(b"x" * 1000, mtime=0)[:-9], PROTOBUF, {"content-encoding": "gzip"}, 400, "too early"),
        (b"x" * (MOST_BYTES + 1), PROTOBUF, {}, 413, "larger"),
        (gzip.compress(b"\0" * (40 << 20), mtime=0), PROTOBUF, {"content-encoding": "gzip"}, 413, "unpacked"),
        (b'{"resourceSpans":' + b"[" * 5000, JSON, {}, 400, "JSON"),
    ],
    ids=[
        "text", "no protobuf", "half JSON", "a list", "no list of spans", "brotli", "no gzip", "half gzip",
        "too large", "a bomb", "too deep",
    ],
)  # fmt: skip
def test_what_is_no_export_is_refused_with_a_clear_text(home, body, content_type, headers, status, says):  # noqa: PLR0917
    """Client errors are 4xx, so that exporters do not try again; nothing is kept."""
    with console(home) as visitor:
        answer = send(visitor, "/v1/traces", body, content_type, **headers)
        assert (answer.status_code, says in answer.text) == (status, True)
        assert visitor.desk.received.refused == 1
        assert not list((home / "telemetry").glob("*.jsonl"))


def test_an_empty_export_is_fine_and_a_get_is_not(visitor):
    """Nothing to keep is a success; asking is another method."""
    assert send(visitor, "/v1/traces", b"").status_code == 200
    assert visitor.get("/v1/traces").status_code == 405


def test_a_packed_body_never_grows_beyond_its_limit():
    """However much it would unpack to, no more than the limit is ever held."""
    bomb = gzip.compress(b"\0" * (64 << 20))
    with pytest.raises(RefusedError) as refused:
        unpacked(bomb, "gzip", 1 << 20)
    assert refused.value.status == 413
    assert unpacked(zlib.compress(b"x" * 9, wbits=31), "gzip", 9) == b"x" * 9


def test_what_cannot_be_written_is_not_acknowledged(visitor, monkeypatch):
    """A full disk is 503 with a time to come again, and what was half written is gone."""
    body = request_of().SerializeToString()
    assert send(visitor, "/v1/traces", body).status_code == 200

    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    answer = send(visitor, "/v1/traces", body)
    monkeypatch.undo()
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert send(visitor, "/v1/traces", body).status_code == 200


def test_it_is_on_disk_before_it_is_acknowledged(visitor, monkeypatch):
    """A sync that fails is no success, and each success comes after a sync of the file."""
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), real(descriptor)))
    assert send(visitor, "/v1/traces", request_of().SerializeToString()).status_code == 200
    assert synced

    def broken(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    assert send(visitor, "/v1/traces", request_of().SerializeToString()).status_code == 503


def test_too_many_at_once_are_asked_to_come_again(visitor):
    """Memory is bounded by how many exports are held at once."""
    receiver_at = next(route for route in visitor.client.app.routes if getattr(route, "path", "") == "/v1/traces")
    receiver = receiver_at.endpoint.__closure__
    found = next(cell.cell_contents for cell in receiver if type(cell.cell_contents).__name__ == "Receiver")
    found._at_once = MOST_AT_ONCE
    assert send(visitor, "/v1/traces", b"").status_code == 503
    found._at_once = 0
    assert send(visitor, "/v1/traces", b"").status_code == 200


def test_logs_are_not_looked_into():
    """Only spans have a reader that could refuse them here; a log is kept as it is."""
    body = json.dumps(
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "x"}}, "no object"]}]}]}
    )
    export = export_of(LOGS, body.encode(), JSON)
    assert (export.kept, export.rejected) == (1, 1)
    assert export_of(TRACES, b"{}", JSON).line == b""
