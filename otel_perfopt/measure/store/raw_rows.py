"""A row that the Collector's exporter wrote in, the `SpanRecord` that its span read from a file would give out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from otel_perfopt import conventions as c
from otel_perfopt.signal.dialect import normalise
from otel_perfopt.signal.dialect_table import CONTENT_NAMES
from otel_perfopt.signal.record import NO_ATTRIBUTES, Attributes, AttributeValue, SpanEvent, SpanRecord

_ERROR_CODES: Final = frozenset({"Error", "STATUS_CODE_ERROR"})
_NO_PARENTS: Final = frozenset({"", "0000000000000000"})
_EVENT_CONTENT: Final = CONTENT_NAMES | {"exception.message", "exception.stacktrace", "content", "gen_ai.event.content"}
# The exporter writes every value as text. These names are numbers, lists and truths wherever they are written.
_NUMBER_ENDS: Final = (
    "_tokens",
    ".tokens",
    "_ms",
    ".count",
    ".total",
    "_time",
    "time_to_first_token",
    "time_to_first_chunk",
    ".cost.usd",
    ".allocation",
    ".hits",
    ".misses",
    ".score.value",
)
_NUMBER_STARTS: Final = ("llm.token_count.", "llm.usage.", "gen_ai.usage.")
# A clock set back makes an end before its start, which the exporter's unsigned duration turns into centuries.
_MAX_DURATION_NS: Final = 1 << 62
_LIST_NAMES: Final = frozenset({c.DATAFLOW_INPUTS, c.DATAFLOW_OUTPUTS, c.GEN_AI_RESPONSE_FINISH_REASONS})


def raw_record(row: Sequence[Any], place: str) -> SpanRecord:
    """Return the record of a row in the order of `rows.READ_COLUMNS`; its attributes come in our vocabulary."""
    start_ns, trace_id, span_id, parent, name, resource, scope, attributes, duration, status, _ = row[:11]
    events = tuple(
        SpanEvent(event, time_ns, _event_attributes(said))
        for time_ns, event, said in zip(row[11], row[12], row[13], strict=True)
    )
    found = normalise(name, typed(attributes), scope)
    error = _error_type(status, found, events)
    if error is not None:
        found.setdefault(c.ERROR_TYPE, error)
    return SpanRecord(
        trace_id,
        span_id,
        "" if parent in _NO_PARENTS else parent,
        name,
        start_ns,
        start_ns + (duration if duration < _MAX_DURATION_NS else 0),
        found,
        typed(resource),
        events,
        scope,
        error,
        place,
    )


def typed(texts: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Return attributes with the types their names call for; what has a type already keeps it."""
    return {name: _typed(name, value) if isinstance(value, str) else value for name, value in texts.items()}


def _typed(name: str, text: str) -> AttributeValue:
    if text in {"true", "false"}:
        return text == "true"
    if name.endswith(_NUMBER_ENDS) or name.startswith(_NUMBER_STARTS):
        return _number(text)
    if name in _LIST_NAMES and text.startswith("["):
        return _list(text)
    return text


def _number(text: str) -> AttributeValue:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _list(text: str) -> AttributeValue:
    try:
        return tuple(str(item) for item in json.loads(text))
    except ValueError:
        return text


def _event_attributes(said: Mapping[str, Any]) -> Attributes:
    return {name: value for name, value in typed(said).items() if name not in _EVENT_CONTENT} or NO_ATTRIBUTES


def _error_type(status: str, attributes: Attributes, events: tuple[SpanEvent, ...]) -> str | None:
    said = attributes.get(c.ERROR_TYPE)
    if isinstance(said, str) and said:
        return said
    if status not in _ERROR_CODES:
        return None
    thrown = (event.attributes.get(c.EXCEPTION_TYPE) for event in events if event.name == c.EXCEPTION_EVENT)
    return next((kind for kind in thrown if isinstance(kind, str)), "error")
