"""One run of a framework's agent: who runs and what it is asked in, a command (or a step of the one around it) out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import context as context_api

from otel_perfopt import conventions as c
from otel_perfopt.signal.emit.command_span import command_word, open_command
from otel_perfopt.signal.emit.runs import current_run
from otel_perfopt.signal.emit.scope import Scope
from otel_perfopt.signal.emit.sent_content import getter, sequence, text
from otel_perfopt.signal.emit.tracing import set_attributes, start_span

_AGENT = "otel-perfopt-agent"
_USER_ROLES = frozenset({"user", "human"})


def open_agent(
    agent: object, name: str, asked: object = None, *, conversation_id: str = "", user_id: str = ""
) -> Scope | None:
    """Open a run of `agent`: a command of its own, or a step where a command is being run already.

    None inside a run of the same object: frameworks call their own entry points. A command is named
    by the leading `/word` of what is asked, else by the agent's name.
    """
    if context_api.get_value(_AGENT) is agent:
        return None
    said = {c.GEN_AI_OPERATION_NAME: c.OPERATION_INVOKE_AGENT, c.GEN_AI_AGENT_NAME: name}
    if current_run() is None:
        scope = open_command(asked_command(asked) or name, conversation_id, user_id)
        set_attributes(scope.span, said)
    else:
        scope = Scope(start_span(f"{c.OPERATION_INVOKE_AGENT} {name}", {c.STEP_KIND: c.STEP_OTHER, **said}))
    scope.carry(_AGENT, agent)
    return scope


def asked_command(asked: object) -> str:
    """Return the leading `/word` of a text, or of the last message of a user in a list (or under `messages`)."""
    if isinstance(asked, str):
        return command_word(asked)
    messages = asked.get("messages") if isinstance(asked, Mapping) else asked
    for message in reversed(sequence(messages)):
        role, content = _role_and_content(message)
        if role in _USER_ROLES:
            return asked_command(content) if isinstance(content, str) else _in_parts(content)
    return ""


def _role_and_content(message: Any) -> tuple[str, object]:
    if isinstance(message, tuple) and len(message) == 2:
        return text(message[0]), message[1]
    get = getter(message)
    return text(get("role")) or text(get("type")), get("content")


def _in_parts(content: object) -> str:
    words = (command_word(text(getter(part)("text"))) for part in sequence(content))
    return next((word for word in words if word), "")
