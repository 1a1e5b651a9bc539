"""One OTLP/HTTP export: a signal's request body in, what can be read of it as one OTLP JSON line out."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]  # its stubs are a package of their own
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]  # the same
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_perfopt.signal.read.otlp_line import spans_of

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId"})
_MOST_DEPTH: Final = 100


class RefusedError(Exception):
    """An export that cannot be taken: the status says whose fault it is, the text what to do."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Signal:
    """One of OTLP's signals: its path, the list in its request, what an item is called, and its messages."""

    path: str
    listed: str
    scoped: str
    items: str
    request: type[Message]
    response: type[Message]
    rejected: str


TRACES: Final = Signal(
    "/v1/traces",
    "resourceSpans",
    "scopeSpans",
    "spans",
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
    "rejected_spans",
)
LOGS: Final = Signal(
    "/v1/logs",
    "resourceLogs",
    "scopeLogs",
    "logRecords",
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
    "rejected_log_records",
)
METRICS: Final = Signal(
    "/v1/metrics",
    "resourceMetrics",
    "scopeMetrics",
    "metrics",
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
    "rejected_data_points",
)
SIGNALS: Final = (TRACES, LOGS, METRICS)


@dataclass(frozen=True, slots=True)
class Export:
    """What one request holds: its line (empty: nothing to keep), how many items are in it, and what was left out and why."""

    line: bytes
    kept: int
    rejected: int = 0
    reason: str = ""


def unpacked(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """Return a body without its compression, never more than the limit.

    Raises:
        RefusedError: an unknown encoding, no gzip, or larger than the limit when unpacked.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding != "gzip":
        raise RefusedError(415, f"the content encoding {encoding[:40]!r} is not known here; use gzip or none")
    machine = zlib.decompressobj(wbits=31)
    try:
        plain = machine.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise RefusedError(400, f"the body is no gzip: {error}") from error
    if len(plain) > most_bytes:
        raise RefusedError(413, f"the body is larger than {most_bytes:,} bytes when unpacked; send smaller batches")
    if not machine.eof:
        raise RefusedError(400, "the gzip body ends too early")
    return plain


def export_of(signal: Signal, body: bytes, content_type: str) -> Export:
    """Return what a request holds.

    Raises:
        RefusedError: it is of another type or cannot be decoded at all.
    """
    if content_type == PROTOBUF:
        content = _from_protobuf(signal, body)
    elif content_type == JSON:
        content = _from_json(signal, body)
    else:
        raise RefusedError(415, f"the content type {content_type[:60]!r} is not known here; send {PROTOBUF} or {JSON}")
    try:
        kept, rejected, reason = _sifted(signal, content)
    except RecursionError as error:
        raise RefusedError(400, "the body is nested too deeply") from error
    line = orjson.dumps({signal.listed: content}) if kept else b""
    return Export(line, kept, rejected, reason)


def answer(signal: Signal, export: Export, content_type: str) -> bytes:
    """Return the response's body: empty success, or what was left out of the export and why."""
    response = signal.response()
    if export.rejected:
        partial: Any = response.partial_success
        setattr(partial, signal.rejected, export.rejected)
        partial.error_message = export.reason
    if content_type == JSON:
        return orjson.dumps(MessageToDict(response))
    packed: bytes = response.SerializeToString()
    return packed


def _from_protobuf(signal: Signal, body: bytes) -> list[Any]:
    request = signal.request()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise RefusedError(400, f"the body is no {signal.request.__name__}: {error}") from error
    try:
        content: list[Any] = MessageToDict(request, use_integers_for_enums=True).get(signal.listed, [])
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the body cannot be written as OTLP JSON: {error}") from error
    _with_hex_ids(content)
    return content


def _from_json(signal: Signal, body: bytes) -> list[Any]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RefusedError(400, f"the body is no JSON: {error}") from error
    content = said.get(signal.listed, []) if isinstance(said, dict) else None
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise RefusedError(400, f"the body is no OTLP JSON: {signal.listed} must be a list of objects")
    return content


def _with_hex_ids(value: Any, depth: int = 0) -> None:
    """Write ids as OTLP JSON does, where protobuf's own JSON writes base64."""
    if depth > _MOST_DEPTH:
        raise RefusedError(400, "the body is nested too deeply")
    for item in value if isinstance(value, list) else ():
        _with_hex_ids(item, depth + 1)
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _IDS and isinstance(inner, str):
                value[key] = _hex(inner)
            elif isinstance(inner, (dict, list)) and key not in {"attributes", "body", "resource"}:
                _with_hex_ids(inner, depth + 1)


def _hex(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).hex()
    except (binascii.Error, ValueError):
        return text


def _sifted(signal: Signal, content: list[Any]) -> tuple[int, int, str]:
    """Leave out of the content what nobody could read; return how much is kept, how much is not, and why."""
    kept = rejected = 0
    reasons: list[str] = []
    for resource in content:
        scopes = resource.get(signal.scoped)
        for scope in scopes if isinstance(scopes, list) else ():
            items = scope.get(signal.items) if isinstance(scope, dict) else None
            if not isinstance(items, list):
                continue
            good = [item for item in items if isinstance(item, dict) and _readable(signal, item, reasons)]
            scope[signal.items] = good
            kept += len(good)
            rejected += len(items) - len(good)
    said = "; ".join(dict.fromkeys(reasons)) or "an item that is no object"
    return kept, rejected, said[:500] if rejected else ""


def _readable(signal: Signal, item: Mapping[str, Any], reasons: list[str]) -> bool:
    """Tell whether the reader of telemetry files will be able to read an item; it is the one to ask."""
    if signal is not TRACES:
        return True
    line = {"resourceSpans": [{"scopeSpans": [{"spans": [item]}]}]}
    return any(True for _ in spans_of(line, "", reasons.append if len(reasons) < 5 else lambda _text: None))
