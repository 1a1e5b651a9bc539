"""The span processor of this package: every span of the process in, spans that name their conversation out."""

from __future__ import annotations

from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_perfopt import conventions as c
from otel_perfopt.signal.dialect_table import OPERATION_NAMES
from otel_perfopt.signal.emit.ended_span import facts_of
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.finisher import Finisher
from otel_perfopt.signal.emit.model_calls import foreign_span_started, model_call_here
from otel_perfopt.signal.emit.runs import run_here

# A span without any of these is no step of an agent, whoever made it.
TELLING = frozenset((*OPERATION_NAMES, c.STEP_KIND, c.MODULE_NAME, "llm.request.type"))


class PerfoptSpanProcessor(SpanProcessor):
    """Gives spans of any instrumentation inside a command its conversation, and those that end to `finisher`.

    Never raises and never blocks: the request path pays one append. What finds no room is counted
    (`finisher.dropped`). Flushing it ends the spans that its thread still has, so it has to stand before
    the processors that export.
    """

    def __init__(self, finisher: Finisher | None = None) -> None:
        self.finisher = finisher
        self.active = True
        self._beside: Any = None
        self._seen: object = None

    def stands_beside(self, processors: Any) -> None:
        """Watch who else is told of spans, in the SDK's own keeper of processors."""
        self._beside = processors
        self._look_beside()

    def _look_beside(self) -> None:
        self._seen = others = getattr(self._beside, "_span_processors", ())
        if self.finisher is not None:
            self.finisher.at_once = any(isinstance(other, SimpleSpanProcessor) for other in others)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's signature
        """Set the conversation on a span that does not say it."""
        try:
            beside = self._beside
            if beside is not None and beside._span_processors is not self._seen:  # noqa: SLF001
                self._look_beside()
            if model_call_here() is not None:
                foreign_span_started(span)
            run = run_here()
            if run is not None and run.open and run.conversation_id and self.active:
                _name_conversation(span, run.conversation_id)
        except Exception as error:
            fault("processor start", error)

    def on_end(self, span: ReadableSpan) -> None:
        """Hand the span on, if somebody counts them."""
        finisher = self.finisher
        if finisher is None or finisher.observer is None or not self.active:
            return
        try:
            try:
                attributes = span._attributes._dict  # type: ignore[union-attr]  # noqa: SLF001 - ten times as cheap
            except AttributeError:
                attributes = span.attributes or {}
            # Most spans of a process are no agent's: they are left here, at the cost of a look.
            if TELLING.isdisjoint(attributes) and span.name != c.GEN_AI_EVALUATION_RESULT_EVENT:
                return
            run = run_here()
            finisher.ended(facts_of(span, run if run is not None and run.open else None))
        except Exception as error:
            fault("processor end", error)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """End what is still to be ended, in bounded time."""
        return self._flushed(timeout_millis)

    def shutdown(self) -> None:
        """End what is still to be ended: the processors after this one are shut down next."""
        self._flushed(3000)

    def _flushed(self, timeout_millis: float) -> bool:
        try:
            return self.finisher is None or self.finisher.flush(timeout_millis / 1000)
        except Exception as error:
            fault("processor flush", error)
            return False


def _name_conversation(span: Span, conversation_id: str) -> None:
    kept: Any = span._attributes  # noqa: SLF001 - nobody else has the span yet: no lock, and no check of a text
    inner = getattr(kept, "_dict", None)
    if (
        type(inner) is dict
        and type(conversation_id) is str
        and kept.max_value_len is None
        and (kept.maxlen is None or len(inner) < kept.maxlen)
    ):
        inner.setdefault(c.GEN_AI_CONVERSATION_ID, conversation_id)
    elif c.GEN_AI_CONVERSATION_ID not in (span.attributes or ()):
        span.set_attribute(c.GEN_AI_CONVERSATION_ID, conversation_id)
