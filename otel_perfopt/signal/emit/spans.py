"""Commands, thinking and tools as a person marks them: a function or a block in, its span out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar, overload

from otel_perfopt import conventions as c
from otel_perfopt.signal.calls import RunContext, ToolCall
from otel_perfopt.signal.emit import tool_span
from otel_perfopt.signal.emit.command_span import around_command, open_command
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.late_description import LateDescription
from otel_perfopt.signal.emit.runs import current_run, last_ended
from otel_perfopt.signal.emit.scope import INTERRUPTIONS, Scope, scoped
from otel_perfopt.signal.emit.taken_over import taken_over, tool_taken_over
from otel_perfopt.signal.emit.tools import UNKNOWN, declare_batch
from otel_perfopt.signal.emit.tracing import context_with, end_span, set_attributes, start_span

F = TypeVar("F", bound=Callable[..., Any])


class _Marker:
    """A decorator and a context manager (plain and asynchronous) in one; nothing it does raises."""

    def __init__(self) -> None:
        self._scopes: list[Scope | None] = []

    def _open_block(self) -> Scope:
        raise NotImplementedError

    def __call__(self, function: F) -> F:
        """Mark every call of `function`; the same object is returned wherever that is possible."""
        raise NotImplementedError

    def __enter__(self) -> Scope | None:
        scope: Scope | None = None
        try:
            scope = self._open_block()
            scope.resume()
        except Exception as error:
            fault("scope start", error)
        self._scopes.append(scope)
        return scope

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        scope = self._scopes.pop() if self._scopes else None
        if scope is not None:
            scope.pause()
            scope.end(error)

    async def __aenter__(self) -> Scope | None:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)


class _Command(_Marker):
    def __init__(self, name: str, conversation_id: str, user_id: str) -> None:
        super().__init__()
        self._name = name
        self._who = (conversation_id, user_id)

    def _open_block(self) -> Scope:
        return open_command(self._name or "command", *self._who)

    def __call__(self, function: F) -> F:
        """Make every call of `function` a command."""
        return taken_over(function, lambda kind: around_command(kind, self._name, *self._who))


class _Thinking(_Marker):
    def _open_block(self) -> Scope:
        return Scope(start_span(c.STEP_THINKING, {c.STEP_KIND: c.STEP_THINKING}))

    def __call__(self, function: F) -> F:
        """Make every call of `function` a thinking phase."""
        return taken_over(function, lambda kind: scoped(kind, lambda _function, _args, _kwargs: self._open_block()))


class _Tool(_Marker):
    def __init__(
        self,
        name: str,
        effects: str,
        resource: str,
        arguments: Mapping[str, Any] | None,
        batch: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__()
        self._name, self._effects, self._resource, self._arguments = name, effects, resource, arguments
        self._batch = batch

    def _open_block(self) -> Scope:
        call = ToolCall(
            self._name or "tool", _block, (), {}, current_run(), effects=self._effects, arguments=self._arguments or {}
        )
        if self._resource:
            call.span_attributes[c.TOOL_RESOURCE] = self._resource
        return ToolBlock(call)

    def __call__(self, function: F) -> F:
        """Make every call of `function` a tool call."""
        name = self._name or getattr(function, "__name__", "tool")
        if self._batch is not None:
            declare_batch(name, self._batch)
        return tool_taken_over(function, name, effects=self._effects, resource=self._resource)


class ToolBlock(Scope):
    """A tool call written as a block; give its result to `result` so that it can be told from others."""

    __slots__ = ("_call", "_late")

    def __init__(self, call: ToolCall) -> None:
        super().__init__(tool_span.start(call), call.run)
        self._call = call
        self._late: LateDescription | None = None

    def result(self, value: object) -> None:
        """Take the result as it is now; it is described when the span ends, off the request path. Never raises."""
        if self._late is not None:
            self._late.discard()
        self._late = tool_span.taken(self.span, self._call, value)

    def end(self, error: BaseException | None = None) -> None:
        """End the span; an interruption is no error."""
        late, self._late = self._late, None
        end_span(self.span, None if isinstance(error, INTERRUPTIONS) else error, None, late)


def _block() -> None:
    """Stand in for the function of a tool call that is a block."""


@overload
def command(name: F) -> F: ...
@overload
def command(name: str = "", *, conversation_id: str = "", user_id: str = "") -> _Command: ...
def command(name: Any = "", *, conversation_id: str = "", user_id: str = "") -> Any:
    """Mark a command: what a user asks the agent to do, from the request to the final answer.

    Use `@command`, `@command("/query")` on any function (also async, generators), or
    `with command("/query", conversation_id=…, user_id=…):`. Without a name, the first text argument
    that begins with a `/word` names it, else the function does. Conversation and user come from here,
    from arguments called `conversation_id`, `session_id`, `thread_id`, `user_id`, from baggage
    (`gen_ai.conversation.id`, `session.id`, `user.id`), or from the first model call.
    """
    if callable(name):
        return _Command("", "", "")(name)
    return _Command(name, conversation_id, user_id)


@overload
def thinking(function: F) -> F: ...
@overload
def thinking() -> _Thinking: ...
def thinking(function: Any = None) -> Any:
    """Mark a phase of thinking that no model's stream shows.

    Use `@thinking` or `with thinking():`.
    """
    return _Thinking() if function is None else _Thinking()(function)


@overload
def tool(name: F) -> F: ...
@overload
def tool(
    name: str = "",
    *,
    effects: str = UNKNOWN,
    resource: str = "",
    arguments: Mapping[str, Any] | None = None,
    batch: Callable[..., Any] | None = None,
) -> _Tool: ...
def tool(
    name: Any = "",
    *,
    effects: str = UNKNOWN,
    resource: str = "",
    arguments: Mapping[str, Any] | None = None,
    batch: Callable[..., Any] | None = None,
) -> Any:
    """Mark a tool, so that each call of it is seen and may be optimized.

    Use `@tool`, `@tool("search", effects="read")`, or `with tool("search") as call: call.result(…)`.
    `effects` is what the tool does to the world (`read`, `write`, `unknown`); `resource` names what it
    reads or writes, with its arguments filled in (`"order/{order_id}"`); `arguments` are a block's.
    `batch` makes many calls at once: it takes a list of their arguments by name and gives a list of results in the
    same order, with an exception in place of the result of a call that fails.
    """
    if callable(name):
        return _Tool("", UNKNOWN, "", None)(name)
    return _Tool(name, effects, resource, arguments, batch)


def feedback(
    score: float | None = None,
    label: str = "",
    comment: str = "",
    *,
    name: str = "feedback",
    conversation_id: str = "",
) -> bool:
    """Record what a user thought of a command, as a `gen_ai.evaluation.result` event.

    It goes to the command that runs here, else to the last one that ended in the conversation named,
    else to the last one that ended in this thread or task. A command that has ended gets it as a span
    of its own in the same trace. False when there was no command to give it to. Never raises.
    """
    attributes = {
        c.GEN_AI_EVALUATION_NAME: name,
        c.GEN_AI_EVALUATION_SCORE_VALUE: None if score is None else float(score),
        c.GEN_AI_EVALUATION_SCORE_LABEL: label or None,
        c.GEN_AI_EVALUATION_EXPLANATION: comment or None,
    }
    said = {key: value for key, value in attributes.items() if value is not None}
    try:
        run = last_ended(conversation_id) if conversation_id else (current_run() or last_ended())
        return run is not None and _evaluate(run, said)
    except Exception as error:
        fault("feedback", error)
        return False


def _evaluate(run: RunContext, said: Mapping[str, Any]) -> bool:
    if run.open:
        run.span.add_event(c.GEN_AI_EVALUATION_RESULT_EVENT, said)
        return True
    span = start_span(c.GEN_AI_EVALUATION_RESULT_EVENT, {}, context_with(run.span))
    span.add_event(c.GEN_AI_EVALUATION_RESULT_EVENT, said)
    set_attributes(span, {c.GEN_AI_CONVERSATION_ID: run.conversation_id or None})
    end_span(span)
    return True
