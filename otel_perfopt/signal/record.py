"""The type room 1 hands on: one span from any source, in one vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

AttributeValue = str | bool | int | float | Sequence[str] | Sequence[bool] | Sequence[int] | Sequence[float]
Attributes = Mapping[str, AttributeValue]

NO_ATTRIBUTES: Attributes = {}


def no_attributes() -> Attributes:
    """Return the one empty mapping that records without attributes share (a dataclass takes no mapping as default)."""
    return NO_ATTRIBUTES


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened inside a span at one moment (`time_ns`, Unix nanoseconds)."""

    name: str
    time_ns: int
    attributes: Attributes = field(default_factory=no_attributes)


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One finished span.

    Ids are lower-case hex (32 and 16 digits); `parent_span_id` is empty for a root. Times are Unix
    nanoseconds. `attributes` use the names of `otel_perfopt.conventions` whatever the source called
    them; `resource` holds the resource's attributes as they came; `error_type` is None for a span
    that did not fail. `location` says where it was read (`file:line`), for evidence.
    """

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    start_ns: int
    end_ns: int
    attributes: Attributes = field(default_factory=no_attributes)
    resource: Attributes = field(default_factory=no_attributes)
    events: tuple[SpanEvent, ...] = field(default=())
    scope: str = ""
    error_type: str | None = None
    location: str = ""
