"""A `SpanRecord` in, a row of `otel_traces` out; and back without loss."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any, Final

import orjson

from otel_perfopt import conventions as c
from otel_perfopt.measure.store.raw_rows import raw_record
from otel_perfopt.measure.store.typed_text import Types, as_text, from_text
from otel_perfopt.signal.record import SpanEvent, SpanRecord

_STORED: Final = frozenset({c.STORE_TYPES, c.STORE_LOCATION, c.STORE_EXACT})
# The table is ordered by `toDateTime`, whose seconds have 32 bits and end in 2106: a later time would be looked for in
# the wrong place, so it is kept beside the columns.
_MAX_NS: Final = ((1 << 32) - 1) * 10**9
_NO_TYPES: Final = b"{}"

# The batch table a row is written to first, in the order of the lines' values; times are nanoseconds.
LINE_COLUMNS: Final = {
    "Time": "Int64",
    "TraceId": "String",
    "SpanId": "String",
    "ParentSpanId": "String",
    "SpanName": "String",
    "ServiceName": "String",
    "ResourceAttributes": "Map(LowCardinality(String), String)",
    "ScopeName": "String",
    "SpanAttributes": "Map(LowCardinality(String), String)",
    "Duration": "UInt64",
    "StatusCode": "String",
    "StatusMessage": "String",
    "EventTimes": "Array(Int64)",
    "EventNames": "Array(String)",
    "EventAttributes": "Array(Map(LowCardinality(String), String))",
}
# How the columns of `otel_traces` are filled from it.
INSERTED: Final = {
    "Timestamp": "fromUnixTimestamp64Nano(Time)",
    "TraceId": "TraceId",
    "SpanId": "SpanId",
    "ParentSpanId": "ParentSpanId",
    "SpanName": "SpanName",
    "SpanKind": "'Unspecified'",
    "ServiceName": "ServiceName",
    "ResourceAttributes": "ResourceAttributes",
    "ScopeName": "ScopeName",
    "SpanAttributes": "SpanAttributes",
    "Duration": "Duration",
    "StatusCode": "StatusCode",
    "StatusMessage": "StatusMessage",
    "Events.Timestamp": "arrayMap(time -> fromUnixTimestamp64Nano(time), EventTimes)",
    "Events.Name": "EventNames",
    "Events.Attributes": "EventAttributes",
}


def line_of(record: SpanRecord) -> bytes:
    """Return a record as one JSON array, a value for each of `LINE_COLUMNS`."""
    if not _fits(record):
        return _dump(_values(_fitted(record), _exact(record)))
    try:
        return _dump(_values(record, ""))
    except TypeError:
        # Half a surrogate pair is no UTF-8: the columns show its escape, the record is kept beside them.
        return _dump(_values(_fitted(record), _exact(record)))


def _dump(values: list[Any]) -> bytes:
    return orjson.dumps(values)


def _values(record: SpanRecord, exact: str) -> list[Any]:
    types: Types = {}
    resource_types: Types = {}
    event_types: list[Types] = [{} for _ in record.events]
    attributes = as_text(record.attributes, types)
    resource = as_text(record.resource, resource_types)
    events = [as_text(event.attributes, kinds) for event, kinds in zip(record.events, event_types, strict=True)]
    attributes[c.STORE_TYPES] = _types_text(types, resource_types, event_types)
    if record.location:
        attributes[c.STORE_LOCATION] = record.location
    if exact:
        attributes[c.STORE_EXACT] = exact
    return [
        record.start_ns,
        record.trace_id,
        record.span_id,
        record.parent_span_id,
        record.name,
        resource.get(c.SERVICE_NAME, ""),
        resource,
        record.scope,
        attributes,
        record.end_ns - record.start_ns,
        "Unset" if record.error_type is None else "Error",
        record.error_type or "",
        [event.time_ns for event in record.events],
        [event.name for event in record.events],
        events,
    ]


def _types_text(span: Types, resource: Types, events: list[Types]) -> str:
    said: dict[str, Any] = {}
    if span:
        said["s"] = span
    if resource:
        said["r"] = resource
    if any(events):
        said["e"] = events
    return orjson.dumps(said).decode() if said else "{}"


def _fits(record: SpanRecord) -> bool:
    """Tell whether the columns can hold the record as it is."""
    return (
        0 <= record.start_ns <= record.end_ns <= _MAX_NS
        and all(0 <= event.time_ns <= _MAX_NS for event in record.events)
        and _STORED.isdisjoint(record.attributes)
    )


def _fitted(record: SpanRecord) -> SpanRecord:
    start_ns = _clamped(record.start_ns)
    events = tuple(
        SpanEvent(_plain(event.name), _clamped(event.time_ns), _plain(dict(event.attributes)))
        for event in record.events
    )
    return replace(
        record,
        trace_id=_plain(record.trace_id),
        span_id=_plain(record.span_id),
        parent_span_id=_plain(record.parent_span_id),
        name=_plain(record.name),
        start_ns=start_ns,
        end_ns=max(start_ns, _clamped(record.end_ns)),
        attributes={name: value for name, value in _plain(dict(record.attributes)).items() if name not in _STORED},
        resource=_plain(dict(record.resource)),
        events=events,
        scope=_plain(record.scope),
        error_type=_plain(record.error_type),
        location=_plain(record.location),
    )


def _clamped(moment: int) -> int:
    return min(max(moment, 0), _MAX_NS)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_plain(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return value


def _exact(record: SpanRecord) -> str:
    """Return the whole record as ASCII text, with every value's type."""
    types: list[Types] = [{} for _ in range(2 + len(record.events))]
    said: dict[str, Any] = asdict(replace(record, attributes={}, resource={}, events=()))
    said["attributes"] = as_text(record.attributes, types[0])
    said["resource"] = as_text(record.resource, types[1])
    said["events"] = [
        [event.name, event.time_ns, as_text(event.attributes, types[2 + place])]
        for place, event in enumerate(record.events)
    ]
    return json.dumps([said, types])


# What `record_of` wants of a row, in this order.
READ_COLUMNS: Final = (
    "toUnixTimestamp64Nano(Timestamp)",
    "TraceId",
    "SpanId",
    "ParentSpanId",
    "SpanName",
    "ResourceAttributes",
    "ScopeName",
    "SpanAttributes",
    "Duration",
    "StatusCode",
    "StatusMessage",
    "arrayMap(time -> toUnixTimestamp64Nano(time), Events.Timestamp)",
    "Events.Name",
    "Events.Attributes",
)


def record_of(row: Sequence[Any], place: str) -> SpanRecord:
    """Return the record of a row; one that an exporter wrote is read as its span in a file would be.

    `place` says where rows that name no file were read, for evidence.
    """
    start_ns, trace_id, span_id, parent, name, resource, scope, attributes, duration, status, message = row[:11]
    types_text = attributes.pop(c.STORE_TYPES, None)
    if types_text is None:
        return raw_record(row, place)
    exact = attributes.pop(c.STORE_EXACT, None)
    if exact is not None:
        return _from_exact(exact)
    location = attributes.pop(c.STORE_LOCATION, "")
    span_types, resource_types, event_types = _types(types_text)
    return SpanRecord(
        trace_id,
        span_id,
        parent,
        name,
        start_ns,
        start_ns + duration,
        from_text(attributes, span_types),
        from_text(resource, resource_types),
        _events(row[11], row[12], row[13], event_types) if row[11] else (),
        scope,
        message if status == "Error" else None,
        location,
    )


def _events(
    times: Sequence[int], names: Sequence[str], maps: Sequence[Mapping[str, str]], types: Sequence[Types]
) -> tuple[SpanEvent, ...]:
    kinds = types or [{}] * len(times)
    return tuple(
        SpanEvent(name, time_ns, from_text(texts, kind))
        for name, time_ns, texts, kind in zip(names, times, maps, kinds, strict=True)
    )


@lru_cache(maxsize=4096)
def _types(text: str) -> tuple[Types, Types, list[Types]]:
    said = orjson.loads(text)
    return said.get("s", {}), said.get("r", {}), said.get("e", [])


def _from_exact(text: str) -> SpanRecord:
    said, types = json.loads(text)
    events = tuple(
        SpanEvent(name, time_ns, from_text(texts, types[2 + place]))
        for place, (name, time_ns, texts) in enumerate(said["events"])
    )
    attributes, resource = from_text(said["attributes"], types[0]), from_text(said["resource"], types[1])
    return SpanRecord(**{**said, "attributes": attributes, "resource": resource, "events": events})
