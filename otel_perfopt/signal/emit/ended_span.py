"""A span that has ended in, the few facts of it that are counted out, so that the rest of it need not be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.trace import SpanContext, StatusCode

from otel_perfopt.signal.calls import RunContext

if TYPE_CHECKING:  # marking functions must not load the SDK
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

# The fields of an `EndedSpan`.
Facts = tuple[Any, ...]


class EndedSpan(NamedTuple):
    """What is counted of one span, times in Unix ns; `attributes` is the span's own mapping, without a copy.

    `run` is the command that it ended in.
    """

    attributes: Mapping[str, Any]
    name: str
    start_ns: int
    end_ns: int
    context: SpanContext
    parent: SpanContext | None
    status: StatusCode
    scope: InstrumentationScope | None
    run: RunContext | None
    events: Sequence[Event]


def own_attributes(span: Any) -> Mapping[str, Any]:
    """Return the span's attributes without a copy."""
    try:
        return span._attributes._dict  # type: ignore[no-any-return]  # noqa: SLF001 - ten times as cheap
    except AttributeError:
        return getattr(span, "attributes", None) or {}


def facts_of(span: Any, run: RunContext | None) -> Facts:
    """Return the fields of the `EndedSpan`, at the cost of a few field reads, without a reference to the rest of the span."""
    try:
        return (
            span._attributes._dict,  # noqa: SLF001 - the SDK's properties cost three times as much
            span._name,  # noqa: SLF001 - and so on
            span._start_time,  # noqa: SLF001
            span._end_time,  # noqa: SLF001
            span._context,  # noqa: SLF001
            span._parent,  # noqa: SLF001
            span._status._status_code,  # noqa: SLF001
            span._instrumentation_scope,  # noqa: SLF001
            run,
            span.events if span._events._dq else (),  # noqa: SLF001
        )
    except AttributeError:
        return _told(span, run)


def _told(span: ReadableSpan, run: RunContext | None) -> Facts:
    """Return the same of a span that is built otherwise."""
    return (
        span.attributes or {},
        span.name,
        span.start_time or 0,
        span.end_time or 0,
        span.context,
        span.parent,
        span.status.status_code,
        span.instrumentation_scope,
        run,
        span.events,
    )
