"""One call of a model, whatever client makes it: what it sends and what comes back in, a span and the model's requests out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span

from otel_perfopt import conventions as c
from otel_perfopt.signal.calls import RunContext, ToolRequest
from otel_perfopt.signal.emit import implicit
from otel_perfopt.signal.emit.captured_content import redacted
from otel_perfopt.signal.emit.command_span import CONVERSATION_BAGGAGE, USER_BAGGAGE, from_baggage
from otel_perfopt.signal.emit.conversations import Conversations, SentMessage
from otel_perfopt.signal.emit.discovery import after_fork as discovery_after_fork
from otel_perfopt.signal.emit.discovery import tools_offered
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.finisher import Describe
from otel_perfopt.signal.emit.request_facts import RequestFacts, request_facts
from otel_perfopt.signal.emit.runs import after_fork as runs_after_fork
from otel_perfopt.signal.emit.runs import current_run, forget_requests, remember_requests
from otel_perfopt.signal.emit.tool_calls import reply_arrived, reply_part_arrived
from otel_perfopt.signal.emit.tracing import after_fork as tracing_after_fork
from otel_perfopt.signal.emit.tracing import (
    attach,
    context_with,
    detach,
    end_span,
    finisher,
    set_attributes,
    span_id_of,
    start_span,
)

_conversations = Conversations()
_under_way: ContextVar[ModelCall | None] = ContextVar("otel_perfopt_model_call", default=None)
# The call being made here; asked once a span, so there is no function around it.
model_call_here: Final = _under_way.get
# By these another instrumentation's span of a model call is known.
_MODEL_SPAN = (c.GEN_AI_OPERATION_NAME, c.GEN_AI_PROVIDER_NAME, "gen_ai.system", "openinference.span.kind")


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What a call sends, without its content.

    `attributes` are further span attributes of the request. `traced` says that another
    instrumentation makes a span for this call, so that this package makes none.
    """

    provider: str
    model: str
    messages: tuple[SentMessage, ...]
    tools: tuple[str, ...] = ()
    conversation_id: str = ""
    user_id: str = ""
    attributes: tuple[tuple[str, Any], ...] = ()
    traced: bool = False


@dataclass(slots=True)
class ModelReply:
    """What came back, without its content; None where the provider did not say.

    `requests` are the tool calls it asks for; `message` is the reply as the next call will send it,
    `kept_as` what the next call sends instead where the provider keeps the conversation.
    `said` is the reply's text, which only who stands in the way of the call is shown.
    `first_token_ns` and `thinking_ns` (start and end of each phase) are Unix times, of a streamed reply only.
    """

    response_id: str | None = None
    model: str | None = None
    finish_reasons: tuple[str, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    requests: tuple[ToolRequest, ...] = ()
    message: SentMessage | None = None
    first_token_ns: int | None = None
    thinking_ns: tuple[tuple[int, int], ...] = ()
    kept_as: SentMessage | None = None
    output_text: str | None = None
    said: str = field(default="", repr=False)


class ModelCall:
    """A call of a model under way. None of its methods raises."""

    __slots__ = (
        "_described",
        "_ended",
        "_foreign_id",
        "_handed_on",
        "_listener",
        "_token",
        "_under_way_token",
        "facts",
        "implicit",
        "request",
        "run",
        "span",
        "started_ns",
    )

    def __init__(self, request: ModelRequest, run: RunContext, span: Span, *, inferred: bool) -> None:
        self.request = request
        self.run = run
        self.span = span
        self.implicit = inferred
        self.facts: RequestFacts | None = None
        self.started_ns = time.time_ns()
        self._token: Token[Context] | None = None
        self._ended = False
        self._handed_on = False
        self._foreign_id = span_id_of(trace.get_current_span()) if request.traced else ""
        self._under_way_token: Token[ModelCall | None] | None = None
        self._described: Callable[[ModelReply | None], ModelReply | None] | None = None
        self._listener: Callable[[ModelReply | None, BaseException | None], None] | None = None

    def end_with(
        self,
        described: Callable[[ModelReply | None], ModelReply | None],
        listener: Callable[[ModelReply | None, BaseException | None], None],
    ) -> None:
        """Have `described` give the reply that is recorded, and `listener` told when the call has ended."""
        self._described, self._listener = described, listener

    def enter(self) -> None:
        """Make the call's span current, for the HTTP spans inside it."""
        if self.span.is_recording():
            context = context_with(self.span)
            self._token = None if context is None else attach(context)
        self._under_way_token = _under_way.set(self)

    def leave(self) -> None:
        """Make current what was so before `enter`."""
        if self._under_way_token is not None:
            under_way_token, self._under_way_token = self._under_way_token, None
            try:
                _under_way.reset(under_way_token)
            except ValueError:
                return  # a coroutine closed from another context, which never had this
        token, self._token = self._token, None
        detach(token)

    def look_at(self, kwargs: Mapping[str, Any]) -> None:
        """Keep what the agent asks, to say it of the span when the call has ended."""
        if self.span.is_recording():
            self.facts = request_facts(kwargs)

    def made_by(self, span_id: str) -> None:
        """Know the span that another instrumentation makes for this call."""
        self._foreign_id = span_id

    def hand_on_part(self, requests: Sequence[ToolRequest]) -> None:
        """Tell which tool calls are complete while the reply that asks for them still streams."""
        if not self._handed_on:
            reply_part_arrived(self.run, requests)

    def hand_on(self, requests: Sequence[ToolRequest]) -> None:
        """Hand on the tool calls the reply asks for, as soon as they are complete. Once only."""
        if self._handed_on:
            return
        self._handed_on = True
        try:
            span_id = span_id_of(self.span) or self._foreign_id
            remember_requests(self.run, requests, span_id)
            if self.implicit:
                implicit.commands().replied(self.run, requests, final=False)
            reply_arrived(self.run, requests)
        except Exception as error:
            fault("model requests", error)

    def end(self, reply: ModelReply | None, error: BaseException | None = None, end_ns: int | None = None) -> None:
        """Take the whole reply (or None) into account: the span ends, and the requests are handed on. Once only."""
        if self._ended:
            return
        self._ended = True
        try:
            recorded = reply if self._described is None else self._described(reply)
            self._finish(recorded, error, end_ns)
        except Exception as own:
            fault("model reply", own)
            end_span(self.span)
        if self._listener is not None:
            self._listener(reply, error)

    def _finish(self, reply: ModelReply | None, error: BaseException | None, end_ns: int | None) -> None:
        if reply is not None:
            self._describe(reply, end_ns)
        end_span(self.span, error, end_ns, self._later(reply))
        if reply is not None:
            conversation_id, sent = self.run.conversation_id, self.request.messages
            _conversations.remember(conversation_id, sent, reply.message, reply.input_tokens)
            if reply.kept_as is not None:
                _conversations.keep(conversation_id, reply.kept_as, reply.input_tokens)
            self.hand_on(reply.requests)
        if self.implicit:
            final = reply is not None and error is None and not reply.requests
            implicit.commands().replied(self.run, (), final=final, failed=error is not None)

    def _later(self, reply: ModelReply | None) -> Describe | None:
        """Return what says of the span what takes a while to find out; None where there is nothing of the kind."""
        content = self._content(reply)
        facts = self.facts.describing(finisher()) if self.facts is not None and self.span.is_recording() else None
        if facts is None or content is None:
            return facts or content

        def both(span: Span) -> None:
            facts(span)
            content(span)

        return both

    def _content(self, reply: ModelReply | None) -> Describe | None:
        """Return what puts the call's content on its span; None where none is captured."""
        sent = next((value for name, value in self.request.attributes if name == c.GEN_AI_INPUT_MESSAGES), None)
        received = None if reply is None else reply.output_text
        content = {c.GEN_AI_INPUT_MESSAGES: sent, c.GEN_AI_OUTPUT_MESSAGES: received}
        kept = {name: text for name, text in content.items() if text}
        return (lambda span: set_attributes(span, redacted(kept))) if kept else None

    def _describe(self, reply: ModelReply, end_ns: int | None) -> None:
        if not self.span.is_recording():
            return
        resent = _conversations.resent_tokens(self.run.conversation_id, self.request.messages, reply.input_tokens)
        first = reply.first_token_ns
        set_attributes(
            self.span,
            {
                c.GEN_AI_RESPONSE_ID: reply.response_id,
                c.GEN_AI_RESPONSE_MODEL: reply.model,
                c.GEN_AI_RESPONSE_FINISH_REASONS: list(reply.finish_reasons) or None,
                c.GEN_AI_USAGE_INPUT_TOKENS: reply.input_tokens,
                c.GEN_AI_USAGE_OUTPUT_TOKENS: reply.output_tokens,
                c.GEN_AI_USAGE_CACHE_READ_TOKENS: reply.cache_read_tokens,
                c.GEN_AI_USAGE_CACHE_WRITE_TOKENS: reply.cache_write_tokens,
                c.GEN_AI_USAGE_REASONING_TOKENS: reply.reasoning_tokens,
                c.CONTEXT_RESENT_TOKENS: resent,
                c.TIME_TO_FIRST_TOKEN: None if first is None else max(0, first - self.started_ns) / 1e9,
            },
        )
        for began, ended in reply.thinking_ns:
            self._thought(began, ended)
        share = _thinking_share(reply)
        if share:
            until = end_ns or time.time_ns()
            self._thought(self.started_ns, self.started_ns + round((until - self.started_ns) * share), estimated=True)

    def _thought(self, began_ns: int, ended_ns: int, *, estimated: bool = False) -> None:
        attributes: dict[str, Any] = {c.STEP_KIND: c.STEP_THINKING}
        if estimated:
            attributes[c.DURATION_ESTIMATED] = True
        end_span(start_span(c.STEP_THINKING, attributes, context_with(self.span), began_ns), None, ended_ns)


def _thinking_share(reply: ModelReply) -> float:
    """Return which share of an unstreamed reply's tokens was reasoning; 0 where the stream shows when it was."""
    if reply.thinking_ns or reply.first_token_ns is not None or not reply.reasoning_tokens or not reply.output_tokens:
        return 0.0
    return min(1.0, reply.reasoning_tokens / reply.output_tokens)


def begin_model_call(request: ModelRequest) -> ModelCall | None:
    """Start a call of a model: find or open its command, know its conversation, start its span; None on a fault."""
    try:
        if suppressed():
            return None
        tools_offered(request.tools)
        run, inferred = _run_of(request)
        span = INVALID_SPAN if request.traced else _start(request, run, inferred=inferred)
        return ModelCall(request, run, span, inferred=inferred)
    except Exception as error:
        fault("model call", error)
        return None


def foreign_span_started(span: Span) -> None:
    """Take the start of any span into account: it may be another instrumentation's for the call under way here."""
    call = _under_way.get()
    if call is None:
        return
    attributes = getattr(span, "attributes", None) or {}
    if c.STEP_KIND in attributes or not any(name in attributes for name in _MODEL_SPAN):
        return
    if not call.request.traced:
        # A client that traces its own calls, inside our span of the same call: it must not count twice.
        set_attributes(span, {c.STEP_KIND: c.STEP_OTHER})
    elif attributes.get("openinference.span.kind") == "LLM" or c.GEN_AI_OPERATION_NAME in attributes:
        call.made_by(span_id_of(span))


def suppressed() -> bool:
    """Tell whether somebody has turned instrumentation off here (an exporter, for its own calls)."""
    return bool(
        context_api.get_value("suppress_instrumentation")
        or context_api.get_value(context_api._SUPPRESS_INSTRUMENTATION_KEY)  # noqa: SLF001 - how all instrumentations ask
    )


def _run_of(request: ModelRequest) -> tuple[RunContext, bool]:
    run = current_run()
    conversation_id = request.conversation_id or from_baggage(CONVERSATION_BAGGAGE)
    if run is None:
        identity = conversation_id or _conversations.identify(request.messages)
        user_id = request.user_id or from_baggage(USER_BAGGAGE)
        run = implicit.commands().for_model_call(request.messages, identity, user_id)
        return run, True
    forget_requests(run, implicit.trailing_call_ids(request.messages))
    if not run.conversation_id:
        run.conversation_id = conversation_id or _conversations.identify(request.messages)
        set_attributes(run.span, {c.GEN_AI_CONVERSATION_ID: run.conversation_id})
    if not run.user_id and request.user_id:
        run.user_id = request.user_id
        set_attributes(run.span, {c.USER_ID: run.user_id})
    return run, False


def _start(request: ModelRequest, run: RunContext, *, inferred: bool) -> Span:
    attributes: dict[str, Any] = {
        c.GEN_AI_OPERATION_NAME: c.OPERATION_CHAT,
        c.GEN_AI_PROVIDER_NAME: request.provider,
        c.GEN_AI_REQUEST_MODEL: request.model,
        c.STEP_KIND: c.STEP_INFERENCE,
        **dict(request.attributes),
    }
    attributes.pop(c.GEN_AI_INPUT_MESSAGES, None)  # content comes last, and not as it is
    if run.conversation_id:
        attributes[c.GEN_AI_CONVERSATION_ID] = run.conversation_id
    context = context_with(run.span) if inferred else None
    return start_span(f"{c.OPERATION_CHAT} {request.model}".strip(), attributes, context, kind=trace.SpanKind.CLIENT)


def after_fork() -> None:
    """Leave the parent's locks and open commands to the parent; called in the child."""
    tracing_after_fork()
    runs_after_fork()
    discovery_after_fork()
    _conversations.after_fork()
    implicit.commands().after_fork()


def forget_conversations() -> None:
    """Forget everything that was sent (when instrumentation is undone)."""
    global _conversations  # noqa: PLW0603 - one a process
    _conversations = Conversations()
