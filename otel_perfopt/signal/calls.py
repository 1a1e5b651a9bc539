"""The seam between watching calls and changing them: calls as they are intercepted, and who may stand in their way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from opentelemetry.trace import INVALID_SPAN, Span


@dataclass(slots=True)
class RunContext:
    """The command being run: what every call inside it can find out, and a place to keep state for it.

    `conversation_id` may become known only with the first model call; `slots` belongs to whoever
    stands in the way of calls, keyed by its own name. `implicit` marks a command nobody declared,
    inferred from model calls; `open` turns false when the command has ended.
    """

    command: str = ""
    conversation_id: str = ""
    user_id: str = ""
    span: Span = INVALID_SPAN
    slots: dict[str, Any] = field(default_factory=dict)
    implicit: bool = False
    open: bool = True


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """One tool call that a model's reply asks for; `arguments` is None when they are no JSON object."""

    call_id: str
    name: str
    arguments: Mapping[str, Any] | None


@dataclass(slots=True)
class ToolCall:
    """One call of a tool function by the agent.

    `function` is the plain function; `run` is None outside any command. `span_attributes` are put on
    the call's span. `requested` is the model's request this call answers, where it is known, and
    `requested_by` the span id of the model call that asked. `effects` is what the tool is declared to
    do (`read`, `write`, `unknown`), `arguments` the arguments by name with defaults filled in, without
    a method's `self`; None where they have no names.
    """

    tool: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    run: RunContext | None = None
    requested: ToolRequest | None = None
    span_attributes: dict[str, Any] = field(default_factory=dict)
    requested_by: str = ""
    effects: str = "unknown"
    arguments: Mapping[str, Any] | None = None


class Interceptor(Protocol):
    """Who stands between the agent and its tools.

    `execute(call)` makes the plain call inside its span, exactly once unless the call may be
    repeated. Whatever happens in an implementation's own code, the agent sees the plain call's
    result or exception.
    """

    def around_tool(self, call: ToolCall, execute: Callable[[ToolCall], Any]) -> Any:
        """Make a synchronous call, or give its result some other way."""
        ...

    async def around_tool_async(self, call: ToolCall, execute: Callable[[ToolCall], Awaitable[Any]]) -> Any:
        """Make an asynchronous call, or give its result some other way."""
        ...

    def on_reply(self, run: RunContext, requests: Sequence[ToolRequest], functions: Mapping[str, ToolCall]) -> None:
        """A model's reply asks for `requests`; `functions` holds, by tool name, a call template for each known tool."""
        ...
