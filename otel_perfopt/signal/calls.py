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
    inferred from model calls; `open` turns false when the command has ended. `preference` is what whoever
    asks would rather have and `preference_source` how that is known, empty until somebody looked; once something
    was decided by it, it is `preference_settled`.
    """

    command: str = ""
    conversation_id: str = ""
    user_id: str = ""
    span: Span = INVALID_SPAN
    slots: dict[str, Any] = field(default_factory=dict)
    implicit: bool = False
    open: bool = True
    preference: str = ""
    preference_source: str = ""
    preference_settled: bool = False


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


@dataclass(frozen=True, slots=True)
class InferenceOutcome:
    """What a call of a model came to when its reply had been read, whole or as far as anybody read it.

    Token counts are None where the provider did not say; `complete` is false for a stream that was left early.
    `text` is what the reply says, for whoever looks at it now; it is kept nowhere.
    """

    error: BaseException | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    requests: tuple[ToolRequest, ...] = ()
    complete: bool = True
    text: str = field(default="", repr=False)


def _no_reply(result: object) -> bool:  # noqa: ARG001 - what a client says that knows nothing of its replies
    return False


@dataclass(slots=True)
class InferenceCall:
    """One call of a model's client by the agent, before it is sent.

    `api` says whose keyword arguments these are: `openai.chat`, `openai.responses`, `anthropic.messages`.
    `kwargs` is what will be sent and may be exchanged name by name; what its values hold is the agent's
    and must stay as it is. `original` is what the agent gave. `function` is the client's plain function.
    `is_reply` tells whether a result is a whole reply (no stream, no raw response). `on_end` is called
    once the reply has been read. `target` is the client's object that the call is made on
    (`client.chat.completions`); another one of its class sends the call elsewhere. `served_by` names who
    gave the result without asking the model, so that its tokens are not counted again. `span_attributes`
    are put on the call's span.
    """

    api: str
    provider: str
    model: str
    function: Callable[..., Any]
    original: Mapping[str, Any]
    kwargs: dict[str, Any]
    run: RunContext
    target: Any = None
    own_target: Any = None
    is_reply: Callable[[object], bool] = _no_reply
    span_attributes: dict[str, Any] = field(default_factory=dict)
    on_end: list[Callable[[InferenceOutcome], None]] = field(default_factory=list)
    served_by: str = ""

    @property
    def stream(self) -> bool:
        """Whether the agent asked for the reply piece by piece."""
        return self.kwargs.get("stream") is True

    @property
    def changed(self) -> bool:
        """Whether something else than what the agent gave will be sent."""
        return len(self.kwargs) != len(self.original) or any(
            name not in self.original or self.original[name] is not value for name, value in self.kwargs.items()
        )

    @property
    def redirected(self) -> bool:
        """Whether the call goes elsewhere than where the agent sent it."""
        return self.target is not self.own_target

    def restore(self) -> None:
        """Send what the agent gave, where it sent it."""
        self.kwargs = dict(self.original)
        self.target = self.own_target


class InferenceInterceptor(Protocol):
    """Who stands between the agent and its models.

    `execute(call)` sends `call.kwargs` and may be asked more than once; whoever asks again answers for
    it. Whatever happens in an implementation's own code, the agent sees the plain call's result or exception.
    """

    def around_inference(self, call: InferenceCall, execute: Callable[[InferenceCall], Any]) -> Any:
        """Make a synchronous call, or give its result some other way."""
        ...

    async def around_inference_async(
        self, call: InferenceCall, execute: Callable[[InferenceCall], Awaitable[Any]]
    ) -> Any:
        """Make an asynchronous call, or give its result some other way."""
        ...


class RunListener(Protocol):
    """Who is told of commands; neither method may block."""

    def run_began(self, run: RunContext) -> None:
        """A command begins."""
        ...

    def run_ended(self, run: RunContext) -> None:
        """A command has ended; `run.open` is false."""
        ...


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
