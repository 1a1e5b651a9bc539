"""The span of one command: a name and who asks in, an open `RunContext` and its span out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from opentelemetry import baggage

from otel_perfopt import conventions as c
from otel_perfopt.signal.calls import RunContext
from otel_perfopt.signal.emit.implicit import COMPLETED, FAILED, INTERRUPTED
from otel_perfopt.signal.emit.interception import Around
from otel_perfopt.signal.emit.preference import state_preference
from otel_perfopt.signal.emit.runs import current_run, remember_ended, run_began
from otel_perfopt.signal.emit.scope import INTERRUPTIONS, Scope, scoped
from otel_perfopt.signal.emit.tracing import set_attributes, start_span
from otel_perfopt.signal.emit.trampoline import Kind, parameters

CONVERSATION_BAGGAGE = (c.GEN_AI_CONVERSATION_ID, c.SESSION_ID)
USER_BAGGAGE = (c.USER_ID, "enduser.id")
CONVERSATION_PARAMETERS = ("conversation_id", "session_id", "thread_id", "chat_id")
USER_PARAMETERS = ("user_id", "user")
_SLOT = "signal.function"

_COMMAND_WORD = re.compile(r"\s*(/[A-Za-z][\w:-]{0,63})(?:\s|$)")


def open_command(name: str, conversation_id: str = "", user_id: str = "") -> Scope:
    """Open a command; who asks is taken from the arguments, else from baggage, else from its first model call."""
    conversation_id = conversation_id or from_baggage(CONVERSATION_BAGGAGE)
    user_id = user_id or from_baggage(USER_BAGGAGE)
    attributes: dict[str, Any] = {c.STEP_KIND: c.STEP_COMMAND, c.COMMAND_NAME: name}
    if conversation_id:
        attributes[c.GEN_AI_CONVERSATION_ID] = conversation_id
    if user_id:
        attributes[c.USER_ID] = user_id
    run = RunContext(name, conversation_id, user_id, start_span(name, attributes))
    state_preference(run)

    def ended(error: BaseException | None) -> None:
        run.open = False
        remember_ended(run)
        set_attributes(run.span, {c.COMMAND_OUTCOME: _outcome(error), **_late_facts(run)})

    run_began(run)
    return Scope(run.span, run, ended)


def around_command(kind: Kind, name: str = "", conversation_id: str = "", user_id: str = "") -> Around:
    """Return what stands around every call of a function that is a command."""

    def opened(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Scope | None:
        run = current_run()
        if run is not None and run.slots.get(_SLOT) is function:
            return None  # recursion: the inner call is part of the command, not another one
        return open_for_call(name, function, args, kwargs, conversation_id=conversation_id, user_id=user_id)

    return scoped(kind, opened)


def open_for_call(
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    conversation_id: str = "",
    user_id: str = "",
) -> Scope:
    """Open a command for a call of `function`: what is not given is looked for among its arguments.

    The name is `name`, else the first text argument's leading `/word`, else the function's name.
    """
    named = _named(function, args, kwargs)
    scope = open_command(
        name or _word_in(named) or getattr(function, "__name__", "command"),
        conversation_id or _first_text(named, CONVERSATION_PARAMETERS),
        user_id or _first_text(named, USER_PARAMETERS),
    )
    if scope.run is not None:
        scope.run.slots[_SLOT] = function
    return scope


def command_word(text: str) -> str:
    """Return the `/word` that `text` begins with, or an empty text."""
    match = _COMMAND_WORD.match(text)
    return match.group(1) if match else ""


def from_baggage(names: tuple[str, ...]) -> str:
    """Return the first of the named baggage entries that is there, or an empty text."""
    for name in names:
        value = baggage.get_baggage(name)
        if value:
            return str(value)
    return ""


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return COMPLETED
    return INTERRUPTED if isinstance(error, INTERRUPTIONS) else FAILED


def _late_facts(run: RunContext) -> Mapping[str, Any]:
    return {c.GEN_AI_CONVERSATION_ID: run.conversation_id or None, c.USER_ID: run.user_id or None}


def _named(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    names = parameters(function.__code__)[0] if isinstance(function, FunctionType) else ()
    return {**dict(zip((*names, *(f"*{n}" for n in range(len(args)))), args, strict=False)), **kwargs}


def _word_in(named: Mapping[str, Any]) -> str:
    return next((word for value in named.values() if isinstance(value, str) and (word := command_word(value))), "")


def _first_text(named: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((str(named[name]) for name in names if isinstance(named.get(name), (str, int)) and named[name]), "")
