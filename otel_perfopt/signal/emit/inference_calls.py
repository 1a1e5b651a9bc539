"""Calls of a model on their way out: a call and what sends it in, its result out, with whoever stands in the way asked first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from otel_perfopt import conventions as c
from otel_perfopt.signal.calls import InferenceCall, InferenceInterceptor, InferenceOutcome
from otel_perfopt.signal.emit.attempt import AsyncAttempt, Attempt
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.model_calls import ModelCall, ModelReply
from otel_perfopt.signal.emit.tracing import set_attributes

_interceptor: InferenceInterceptor | None = None


def set_inference_interceptor(interceptor: InferenceInterceptor | None) -> None:
    """Put `interceptor` between the agent and its models; None takes it away."""
    global _interceptor  # noqa: PLW0603 - one a process, as the calls it stands before
    _interceptor = interceptor


def intercepted(
    call: ModelCall,
    api: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    reply_of: Callable[[Any], ModelReply | None],
) -> InferenceCall | None:
    """Return the call as it is shown to whoever stands in the way; None where nobody does, or on a fault."""
    if _interceptor is None or not api:
        return None
    try:
        request = call.request
        shown = InferenceCall(
            api,
            request.provider,
            request.model,
            function,
            kwargs,
            dict(kwargs),
            call.run,
            args[0] if args else None,
            args[0] if args else None,
            is_reply=lambda result: _is_reply(reply_of, result),
        )
        call.end_with(lambda reply: _described(call, shown, reply), lambda reply, error: _ended(shown, reply, error))
    except Exception as error:
        fault("inference call", error)
        return None
    return shown


def send(call: InferenceCall, request: Callable[[InferenceCall], Any]) -> Any:
    """Make a synchronous call through whoever stands in the way; a fault there leaves the plain call."""
    interceptor = _interceptor
    if interceptor is None:
        return request(call)
    attempt = Attempt(call, request)
    try:
        return interceptor.around_inference(call, attempt)
    except Exception as error:
        if attempt.explains(error):
            raise
        fault("inference interceptor", error)
    call.restore()
    return attempt.plain()


async def send_async(call: InferenceCall, request: Callable[[InferenceCall], Awaitable[Any]]) -> Any:
    """Do the same for an asynchronous call."""
    interceptor = _interceptor
    if interceptor is None:
        return await request(call)
    attempt = AsyncAttempt(call, request)
    try:
        return await interceptor.around_inference_async(call, attempt)
    except Exception as error:
        if attempt.explains(error):
            raise
        fault("inference interceptor", error)
    call.restore()
    return await attempt.plain()


def _is_reply(reply_of: Callable[[Any], ModelReply | None], result: object) -> bool:
    if hasattr(result, "http_response") or hasattr(result, "_iterator"):
        return False
    try:
        return reply_of(result) is not None
    except Exception:
        return False  # the client's object; whatever it is, it is no reply that we can read


def _described(call: ModelCall, shown: InferenceCall, reply: ModelReply | None) -> ModelReply | None:
    """Say on the span what was really sent; a reply that no model gave now brings no tokens."""
    attributes = dict(shown.span_attributes)
    sent_model = shown.kwargs.get("model")
    if isinstance(sent_model, str) and sent_model != shown.model:
        attributes[c.GEN_AI_REQUEST_MODEL] = sent_model
    if shown.served_by:
        attributes[c.CACHE_HIT] = True
    if attributes:
        set_attributes(call.span, attributes)
    if shown.changed and call.facts is not None:
        call.facts.sent(shown.kwargs)
    if not shown.served_by or reply is None:
        return reply
    return replace(
        reply,
        input_tokens=None,
        output_tokens=None,
        cache_read_tokens=None,
        cache_write_tokens=None,
        reasoning_tokens=None,
    )


def _ended(shown: InferenceCall, reply: ModelReply | None, error: BaseException | None) -> None:
    outcome = InferenceOutcome(error, complete=False)
    if reply is not None:
        outcome = InferenceOutcome(
            error,
            reply.model,
            reply.input_tokens,
            reply.output_tokens,
            reply.cache_read_tokens,
            reply.cache_write_tokens,
            reply.requests,
            complete=error is None and bool(reply.finish_reasons),
            text=reply.said,
        )
    for listener in shown.on_end:
        _tell(listener, outcome)


def _tell(listener: Callable[[InferenceOutcome], None], outcome: InferenceOutcome) -> None:
    try:
        listener(outcome)
    except Exception as own:
        fault("inference listener", own)
