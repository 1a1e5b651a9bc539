"""The functions of the signal room that act calls: one place for what crosses back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from otel_perfopt.signal.calls import ToolCall
from otel_perfopt.signal.emit import tool_calls, tool_span
from otel_perfopt.signal.emit.tools import batch_form, known_tool


def _no_span(call: ToolCall, result: object) -> None:
    """Record nothing."""


def _no_template(tool: str) -> ToolCall | None:  # noqa: ARG001 - where no tools are known
    return None


def _no_batch(tool: str) -> Callable[..., Any] | None:  # noqa: ARG001 - where none is declared
    return None


def _make(call: ToolCall) -> Any:
    return call.function(*call.args, **call.kwargs)


async def _make_async(call: ToolCall) -> Any:
    return await call.function(*call.args, **call.kwargs)


def _template(tool: str) -> ToolCall | None:
    known = known_tool(tool)
    return None if known is None else known.template()


def _claimed(call: ToolCall, result: object) -> None:
    tool_span.finish(tool_span.start(call), call, result)


@dataclass(frozen=True, slots=True)
class CallSpans:
    """How calls are recorded, and found by their tool.

    `record_hit` records a call that was not made; `record_claim` one whose result was read before it was
    asked for, with arguments and result described; `execute` makes one inside its span. `template` gives
    a call of a known tool without arguments, `batch_form` the function that makes many of its calls.
    """

    record_hit: Callable[[ToolCall, object], None] = _no_span
    execute: Callable[[ToolCall], Any] = _make
    execute_async: Callable[[ToolCall], Awaitable[Any]] = _make_async
    record_claim: Callable[[ToolCall, object], None] = _no_span
    template: Callable[[str], ToolCall | None] = _no_template
    batch_form: Callable[[str], Callable[..., Any] | None] = _no_batch


NO_SPANS = CallSpans()
SIGNAL_SPANS = CallSpans(
    tool_calls.record_hit, tool_calls.execute, tool_calls.execute_async, _claimed, _template, batch_form
)
