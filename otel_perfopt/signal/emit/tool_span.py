"""The span of one tool call: a `ToolCall` and its result in, an `execute_tool` span out."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span

from otel_perfopt import conventions as c
from otel_perfopt.signal.calls import ToolCall
from otel_perfopt.signal.digest import content_digest, digest_and_chars, flow_values
from otel_perfopt.signal.emit.captured_content import redacted
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.late_description import UNDESCRIBED, LateDescription, described_later
from otel_perfopt.signal.emit.scope import INTERRUPTIONS
from otel_perfopt.signal.emit.shorter_forms import result_saving
from otel_perfopt.signal.emit.tracing import end_span, finisher, may_record, set_attributes, start_span
from otel_perfopt.signal.leaf_paths import leaf_attribute, leaves_of

MAX_FLOW_VALUES = 200
MAX_FLOW_CHARS = 1 << 16
CHARS_PER_TOKEN = 4
MAX_CONTENT_CHARS = 100_000
LEAST_SHORTENED_CHARS = 400  # of less, little can be saved

_capture_content = False


def capture_content(on: bool) -> None:
    """Put arguments and results of tool calls on their spans, or not (the default)."""
    global _capture_content  # noqa: PLW0603 - one setting a process
    _capture_content = on


def captures_content() -> bool:
    """Tell whether content is put on spans."""
    return _capture_content


def start(call: ToolCall) -> Span:
    """Start the call's span, in the present context or, for a command nobody declared, under its span; never raises."""
    try:
        if not may_record():
            return INVALID_SPAN
        attributes: dict[str, Any] = {
            c.GEN_AI_OPERATION_NAME: c.OPERATION_EXECUTE_TOOL,
            c.GEN_AI_TOOL_NAME: call.tool,
            c.GEN_AI_TOOL_TYPE: "function",
            c.STEP_KIND: c.STEP_TOOL,
            c.TOOL_EFFECTS: call.effects,
        }
        if call.requested is not None:
            attributes[c.GEN_AI_TOOL_CALL_ID] = call.requested.call_id
            if call.requested_by:
                attributes[c.REQUESTED_BY] = call.requested_by
        span = start_span(f"{c.OPERATION_EXECUTE_TOOL} {call.tool}", attributes, parent_context(call))
    except Exception as error:
        fault("tool span start", error)
        return INVALID_SPAN
    return span


def parent_context(call: ToolCall) -> Context | None:
    """Return the context a call's span starts in; None for the present one.

    A declared command is current while it runs; one that was inferred, or a call made on a thread of
    its own, has to be named.
    """
    run = call.run
    if run is None:
        return None
    here = trace.get_current_span().get_span_context()
    there = run.span.get_span_context()
    if not there.is_valid or (here.trace_id == there.trace_id and not (run.implicit and call.requested is not None)):
        return None
    return trace.set_span_in_context(run.span)


def finish(span: Span, call: ToolCall, result: object) -> None:
    """Describe arguments and result on the span and end it; never raises.

    With a finisher both are only copied here, as they are now; digests are made by its thread.
    """
    if span is not INVALID_SPAN:
        end_ns = time.time_ns()
        end_span(span, None, end_ns, taken(span, call, result))


def taken(span: Span, call: ToolCall, result: object) -> LateDescription | None:
    """Take arguments and result as they are now; what describes them, for `end_span`, is returned. Never raises.

    None where they are described already, since nobody ends the span later, or cannot be.
    """
    try:
        late = finisher()
        if late is None or not span.is_recording():
            describe(span, call, result)
            return None
        description = described_later(late, description_of, _arguments(call), result) if late.has_room() else None
        if description is not None:
            return description.with_attributes(call.span_attributes)
        late.undescribed += 1
        set_attributes(span, {**UNDESCRIBED, **call.span_attributes})
    except Exception as error:
        fault("tool span", error)
    return None


def describe(span: Span, call: ToolCall, result: object) -> None:
    """Describe arguments and result on the span; never raises."""
    try:
        if span.is_recording():
            _describe(span, call, result)
    except Exception as error:
        fault("tool span", error)


def fail(span: Span, error: BaseException) -> None:
    """End the span of a call that raised; an interruption is no error of the tool; never raises."""
    end_span(span, None if isinstance(error, INTERRUPTIONS) else error)


def hit(call: ToolCall, result: object) -> None:
    """Record a call that was answered from elsewhere; never raises."""
    span = start(call)
    try:
        if span.is_recording():
            span.set_attribute(c.CACHE_HIT, True)  # noqa: FBT003 - the attribute's value
            span.set_attributes(call.span_attributes)
            if isinstance(result, str):
                span.set_attribute(c.RESULT_TOKENS, estimated_tokens(result))
    except Exception as error:
        fault("tool span", error)
    end_span(span)


def estimated_tokens(text: str) -> int:
    """Return about how many tokens `text` is: four characters a token, as usual for English and code."""
    return _tokens(len(text))


def _tokens(chars: int) -> int:
    return -(-chars // CHARS_PER_TOKEN)


def _arguments(call: ToolCall) -> object:
    return call.arguments if call.arguments is not None else [list(call.args), dict(call.kwargs)]


def _describe(span: Span, call: ToolCall, result: object) -> None:
    span.set_attributes({**description_of(_arguments(call), result), **call.span_attributes})


def description_of(arguments: object, result: object) -> dict[str, Any]:
    """Return the attributes that tell a call's arguments and result from others."""
    inputs, _ = flow_values(arguments, MAX_FLOW_VALUES)
    outputs, truncated = _outputs(result)
    digest, chars = digest_and_chars(result)
    shorter = _shorter_tokens(result, chars)
    attributes: dict[str, Any] = {
        c.ARGUMENTS_DIGEST: content_digest(arguments),
        c.RESULT_DIGEST: digest,
        c.RESULT_TOKENS: _tokens(len(_as_text(result)) if chars is None else chars),
        c.DATAFLOW_INPUTS: sorted(inputs),
        c.DATAFLOW_OUTPUTS: sorted(outputs),
        c.DATAFLOW_TRUNCATED: truncated,
        c.ARGUMENT_LEAVES: leaf_attribute(leaves_of(arguments)),
        c.RESULT_LEAVES: leaf_attribute(leaves_of(result)),
    }
    if shorter is not None:
        attributes[c.RESULT_SHORTER_TOKENS] = shorter
    if _capture_content:
        content = {
            c.GEN_AI_TOOL_CALL_ARGUMENTS: _as_text(arguments)[:MAX_CONTENT_CHARS],
            c.GEN_AI_TOOL_CALL_RESULT: _as_text(result)[:MAX_CONTENT_CHARS],
        }
        attributes.update(redacted(content))
    return attributes


def _shorter_tokens(result: object, chars: int | None) -> int | None:
    """Return how many tokens a result takes that is written shorter; None where nothing of it would be."""
    if (chars is None and not isinstance(result, str)) or (chars or 0) > MAX_FLOW_CHARS:
        return None
    said = _as_text(result) if len(result) <= MAX_FLOW_CHARS else ""  # type: ignore[arg-type]  # text, list or dict
    saved = result_saving(said) if len(said) >= LEAST_SHORTENED_CHARS and said[0] in "{[" else 0
    return _tokens(len(said) - saved) if saved else None


def _outputs(result: object) -> tuple[frozenset[str], bool]:
    # The agent waits for this: of a long text only the beginning is read.
    if isinstance(result, str) and len(result) > MAX_FLOW_CHARS:
        return flow_values(result[:MAX_FLOW_CHARS], MAX_FLOW_VALUES)[0], True
    return flow_values(result, MAX_FLOW_VALUES)


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (Mapping, list, tuple, int, float, bool)):
        try:
            return json.dumps(value, ensure_ascii=False, default=repr)
        except (TypeError, ValueError, RecursionError):
            return repr(value)
    return str(value)
