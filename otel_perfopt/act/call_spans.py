"""The functions of the signal room that act calls: one place for what crosses back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from otel_perfopt.signal.calls import ToolCall
from otel_perfopt.signal.emit import tool_calls


def _no_span(call: ToolCall, result: object) -> None:
    """Record nothing."""


def _make(call: ToolCall) -> Any:
    return call.function(*call.args, **call.kwargs)


async def _make_async(call: ToolCall) -> Any:
    return await call.function(*call.args, **call.kwargs)


@dataclass(frozen=True, slots=True)
class CallSpans:
    """How calls are recorded: `record_hit` one that was not made, the others make one inside its span."""

    record_hit: Callable[[ToolCall, object], None] = _no_span
    execute: Callable[[ToolCall], Any] = _make
    execute_async: Callable[[ToolCall], Awaitable[Any]] = _make_async


NO_SPANS = CallSpans()
SIGNAL_SPANS = CallSpans(tool_calls.record_hit, tool_calls.execute, tool_calls.execute_async)
