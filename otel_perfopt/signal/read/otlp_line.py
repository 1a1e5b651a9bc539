"""One decoded line of OTLP JSON in, its `SpanRecord`s out."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from otel_perfopt import conventions as c
from otel_perfopt.signal.dialect import normalise
from otel_perfopt.signal.dialect_table import CONTENT_NAMES
from otel_perfopt.signal.record import NO_ATTRIBUTES, Attributes, AttributeValue, SpanEvent, SpanRecord

TRACES: Final = "resourceSpans"
# The file exporter writes metrics, logs and profiles in the same manner; none of them holds a span.
OTHER_SIGNALS: Final = ("resourceMetrics", "resourceLogs", "resourceProfiles")
_ERROR_CODES: Final = (2, "2", "STATUS_CODE_ERROR")
_NO_PARENTS: Final = frozenset({"", "0000000000000000"})
_EVENT_CONTENT: Final = CONTENT_NAMES | {"exception.message", "exception.stacktrace", "content", "gen_ai.event.content"}


def spans_of(line: Mapping[str, Any], location: str, complain: Callable[[str], None]) -> Iterator[SpanRecord]:
    """Yield the spans of one line (OTLP/JSON's mapping of `TracesData`).

    Attributes come out in our vocabulary. A span that cannot be one (no valid ids or times) is left
    out and told to `complain`.
    """
    for resource_spans in _maps(line.get(TRACES)):
        resource = attributes_of(_map(resource_spans.get("resource")).get("attributes"))
        for scope_spans in _maps(resource_spans.get("scopeSpans")):
            scope = _text(_map(scope_spans.get("scope")).get("name"))
            for raw in _maps(scope_spans.get("spans")):
                span = _span_or_none(raw, resource, scope, location=location, complain=complain)
                if span is not None:
                    yield span


def _span_or_none(
    raw: Mapping[str, Any], resource: Attributes, scope: str, *, location: str, complain: Callable[[str], None]
) -> SpanRecord | None:
    try:
        return _span(raw, resource, scope, location)
    except (ValueError, TypeError, OverflowError) as error:
        complain(str(error))
        return None


def _span(raw: Mapping[str, Any], resource: Attributes, scope: str, location: str) -> SpanRecord:
    name = _text(raw.get("name"))
    said = attributes_of(raw.get("attributes"))
    events = tuple(_event(event) for event in _maps(raw.get("events")))
    attributes = normalise(name, said, scope)
    error = _error_type(raw, attributes, events)
    if error is not None:
        attributes.setdefault(c.ERROR_TYPE, error)
    start_ns = _moment(raw, "startTimeUnixNano")
    return SpanRecord(
        trace_id=_identity(raw.get("traceId"), 32, "traceId"),
        span_id=_identity(raw.get("spanId"), 16, "spanId"),
        parent_span_id=_parent(raw.get("parentSpanId")),
        name=name,
        start_ns=start_ns,
        end_ns=max(start_ns, _moment(raw, "endTimeUnixNano")),
        attributes=attributes,
        resource=resource,
        events=events,
        scope=scope,
        error_type=error,
        location=location,
    )


def attributes_of(raw: object) -> dict[str, AttributeValue]:
    """Return the attributes of OTLP's list of key and typed value; a map or list of maps becomes JSON text."""
    found: dict[str, AttributeValue] = {}
    for item in _maps(raw):
        key, typed = item.get("key"), item.get("value")
        # Nearly every attribute is text.
        value = typed.get("stringValue") if isinstance(typed, dict) else None
        if not isinstance(value, str):
            value = _plain(_value(typed))
        if isinstance(key, str) and value is not None:
            found[key] = value
    return found


def _value(raw: object) -> Any:
    if not isinstance(raw, dict):
        return None
    for kind, value in raw.items():
        reader = _VALUES.get(kind)
        if reader is not None:
            return reader(value)
    return None


def _int(value: object) -> object:
    try:
        return int(value)  # type: ignore[call-overload]  # 64-bit numbers are text in JSON; anything else stays as it is
    except (TypeError, ValueError, OverflowError):
        return None


def _double(value: object) -> object:
    try:
        return float(value)  # type: ignore[arg-type]  # "NaN" and "Infinity" are text in JSON
    except (TypeError, ValueError):
        return None


def _array(value: object) -> object:
    return [_value(item) for item in _maps(_map(value).get("values"))]


def _kvlist(value: object) -> object:
    return {_text(item.get("key")): _value(item.get("value")) for item in _maps(_map(value).get("values"))}


_VALUES: Final[dict[str, Callable[[Any], Any]]] = {
    "stringValue": lambda value: value if isinstance(value, str) else None,
    "boolValue": lambda value: value if isinstance(value, bool) else None,
    "intValue": _int,
    "doubleValue": _double,
    "arrayValue": _array,
    "kvlistValue": _kvlist,
    "bytesValue": lambda value: value if isinstance(value, str) else None,
}


def _plain(value: Any) -> AttributeValue:
    if isinstance(value, list):
        simple = all(isinstance(item, (str, bool, int, float)) for item in value)
        return tuple(value) if simple else json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    result: AttributeValue = value
    return result


def _event(raw: Mapping[str, Any]) -> SpanEvent:
    said = attributes_of(raw.get("attributes"))
    kept = {key: value for key, value in said.items() if key not in _EVENT_CONTENT}
    moment = _int(raw.get("timeUnixNano"))
    return SpanEvent(_text(raw.get("name")), moment if isinstance(moment, int) else 0, kept or NO_ATTRIBUTES)


def _error_type(raw: Mapping[str, Any], attributes: Attributes, events: tuple[SpanEvent, ...]) -> str | None:
    said = attributes.get(c.ERROR_TYPE)
    if isinstance(said, str) and said:
        return said
    if _map(raw.get("status")).get("code") not in _ERROR_CODES:
        return None
    thrown = (event.attributes.get(c.EXCEPTION_TYPE) for event in events if event.name == c.EXCEPTION_EVENT)
    return next((kind for kind in thrown if isinstance(kind, str)), "error")


def _identity(value: object, digits: int, field: str) -> str:
    """Return an id as lower-case hex; plain protobuf JSON writes it as base64, which is read too.

    Raises:
        ValueError: it is neither, or all zeros.
    """
    text = _text(value)
    if len(text) != digits:
        try:
            text = base64.b64decode(text, validate=True).hex()
        except (binascii.Error, ValueError):
            text = ""
    text = text.lower()
    if len(text) != digits or not int(text, 16):
        raise ValueError(f"a span with the {field} {value!r:.60}, which is no id of {digits} hex digits")
    return text


def _parent(value: object) -> str:
    return "" if value is None or value in _NO_PARENTS else _identity(value, 16, "parentSpanId")


def _moment(raw: Mapping[str, Any], field: str) -> int:
    moment = _int(raw.get(field))
    if not isinstance(moment, int) or moment <= 0:
        raise ValueError(f"a span with the {field} {raw.get(field)!r:.60}, which is no time in nanoseconds")
    return moment


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _maps(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield item


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
