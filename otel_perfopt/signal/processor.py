"""The span processor of this package: every span of the process in, spans that name their conversation out."""

from __future__ import annotations

from collections import deque

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_perfopt import conventions as c
from otel_perfopt.signal.faults import fault
from otel_perfopt.signal.model_calls import foreign_span_started
from otel_perfopt.signal.runs import current_run


class PerfoptSpanProcessor(SpanProcessor):
    """Gives spans of any instrumentation inside a command its conversation; never raises, never blocks.

    Whoever wants the spans that have ended gives a bounded `queue` and takes them out on a thread of
    its own: the request path pays one append. What no longer fits is counted in `dropped`. There is
    no lock and no thread here, so forks and threads need nothing more.
    """

    def __init__(self, queue: deque[ReadableSpan] | None = None) -> None:
        self._queue = queue
        self.active = True
        self.dropped = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's signature
        """Set the conversation on a span that does not say it."""
        try:
            if not self.active:
                return
            foreign_span_started(span)
            run = current_run()
            if run is not None and run.conversation_id:
                attributes = span.attributes
                if not attributes or c.GEN_AI_CONVERSATION_ID not in attributes:
                    span.set_attribute(c.GEN_AI_CONVERSATION_ID, run.conversation_id)
        except Exception as error:
            fault("processor start", error)

    def on_end(self, span: ReadableSpan) -> None:
        """Put the span into the queue, if somebody reads one."""
        queue = self._queue
        if queue is None or not self.active:
            return
        try:
            if queue.maxlen is not None and len(queue) >= queue.maxlen:
                self.dropped += 1
            else:
                queue.append(span)
        except Exception as error:
            fault("processor end", error)
