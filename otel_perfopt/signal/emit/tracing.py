"""How this package makes spans: a name and attributes in, a span that never raises into the host out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, ProxyTracer, Span, SpanKind, Status, StatusCode, Tracer, TracerProvider

from otel_perfopt import conventions as c
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.finisher import Describe, Finisher
from otel_perfopt.signal.emit.runs import current_run

_tracer: Tracer | None = None
_finisher: Finisher | None = None
_first_use: Callable[[], None] | None = None
_preparing = threading.RLock()
# Set while preparing, so that what prepares may itself ask for a tracer.
_preparing_here: ContextVar[bool] = ContextVar("otel_perfopt_preparing", default=False)
PREPARE_LIMIT_S = 5.0


def use_provider(provider: TracerProvider | None) -> None:
    """Make spans with `provider`; None means the global one, whatever it is when a span starts."""
    global _tracer  # noqa: PLW0603 - one tracer a process, as in every instrumentation
    _tracer = None if provider is None else provider.get_tracer(c.INSTRUMENTATION_SCOPE)


def finish_with(finisher: Finisher | None) -> None:
    """Have spans of this package described and ended by `finisher`; None means at once, by whoever ends them."""
    global _finisher  # noqa: PLW0603 - see above
    _finisher = finisher


def finisher() -> Finisher | None:
    """Return who ends the spans of this package later, or None where they are ended at once."""
    return None if _finisher is None or _finisher.at_once else _finisher


def on_first_use(prepare: Callable[[], None] | None) -> None:
    """Have `prepare` called once, before the next span: what is costly need not be set up in a process without any."""
    global _first_use  # noqa: PLW0603 - see above
    _first_use = prepare


def prepare_now() -> None:
    """Do what `on_first_use` was given, if it has not been done; never raises.

    Threads that come meanwhile wait (5 s at most): the commands they begin would be lost otherwise.
    """
    global _first_use  # noqa: PLW0603 - see above
    if not _preparing.acquire(timeout=PREPARE_LIMIT_S):
        return
    try:
        prepare = _first_use
        if prepare is None or _preparing_here.get():
            return
        token = _preparing_here.set(True)
        try:
            prepare()
        finally:
            _preparing_here.reset(token)
        _first_use = None
    except Exception as error:
        _first_use = None
        fault("preparation", error)
    finally:
        _preparing.release()


def prepared() -> bool:
    """Tell whether everything is set up: a span started now costs no more than a span."""
    return _first_use is None


def preparing() -> bool:
    """Tell whether it is being set up here, by this thread or task."""
    return _preparing_here.get()


def after_fork() -> None:
    """Take a lock that is free: the parent may have held it."""
    global _preparing  # noqa: PLW0603 - see above
    _preparing = threading.RLock()


def tracer() -> Tracer:
    """Return the tracer of this package."""
    global _tracer  # noqa: PLW0603 - see above
    if _first_use is not None:
        prepare_now()
    if _tracer is None:
        _tracer = trace.get_tracer(c.INSTRUMENTATION_SCOPE)
    return _tracer


def may_record() -> bool:
    """Tell whether any span can be recorded: not in a process where nobody has set a tracer provider."""
    return not isinstance(tracer(), ProxyTracer) or getattr(trace, "_TRACER_PROVIDER", trace) is not None


def start_span(
    name: str,
    attributes: Mapping[str, Any],
    context: Context | None = None,
    start_ns: int | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
) -> Span:
    """Start a span; a fault gives the invalid span, on which everything is a no-op."""
    try:
        return tracer().start_span(name, context, kind, attributes, start_time=start_ns)
    except Exception as error:
        fault("span start", error)
        return INVALID_SPAN


def end_span(
    span: Span, error: BaseException | None = None, end_ns: int | None = None, describe: Describe | None = None
) -> None:
    """End `span` as of now or `end_ns`, with `error` recorded on it; with a finisher the rest is done by its thread.

    `describe` sets what else is to be said of the span.
    """
    if span is INVALID_SPAN:
        return
    try:
        recording = span.is_recording()
        if error is not None and recording:
            _record(span, error)
        late = finisher()
        if recording and late is not None and late.end(span, end_ns or time.time_ns(), describe, current_run()):
            return
        if recording and describe is not None:
            describe(span)
        span.end(end_ns)
    except Exception as own:
        fault("span end", own)


def set_attributes(span: Span, attributes: Mapping[str, Any]) -> None:
    """Set attributes; None values are left out."""
    try:
        for name, value in attributes.items():
            if value is not None:
                span.set_attribute(name, value)
    except Exception as error:
        fault("span attributes", error)


def attach(context: Context) -> Token[Context] | None:
    """Make `context` the current one; None when that failed."""
    try:
        return context_api.attach(context)
    except Exception as error:
        fault("context attach", error)
        return None


def detach(token: Token[Context] | None) -> None:
    """Take back what `attach` did."""
    if token is None:
        return
    try:
        context_api.detach(token)
    except Exception as error:
        fault("context detach", error)


def context_with(span: Span, context: Context | None = None) -> Context | None:
    """Return a context (by default the current one) in which `span` is the parent; None on a fault."""
    try:
        return trace.set_span_in_context(span, context)
    except Exception as error:
        fault("context", error)
        return None


def in_span() -> bool:
    """Tell whether a span is current here."""
    return trace.get_current_span().get_span_context().is_valid


def span_id_of(span: Span) -> str:
    """Return the span's id as 16 hex digits; empty for an invalid span."""
    try:
        context = span.get_span_context()
        return format(context.span_id, "016x") if context.is_valid else ""
    except Exception as error:
        fault("span id", error)
        return ""


def error_type(error: BaseException) -> str:
    """Return the exception's qualified name, as `error.type` wants it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _record(span: Span, error: BaseException) -> None:
    span.set_attribute(c.ERROR_TYPE, error_type(error))
    span.set_status(Status(StatusCode.ERROR, type(error).__name__))
    span.record_exception(error)
