"""Commands nobody declared: model calls outside any command in, the run they belong to out."""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.trace import NonRecordingSpan

from otel_perfopt import conventions as c
from otel_perfopt.signal.calls import RunContext, ToolRequest
from otel_perfopt.signal.emit.conversations import SentMessage
from otel_perfopt.signal.emit.preference import state_preference
from otel_perfopt.signal.emit.runs import (
    Asked,
    find_request,
    forget_requests,
    remember_ended,
    run_began,
    unanswered,
)
from otel_perfopt.signal.emit.tracing import end_span, set_attributes, start_span

MAX_OPEN = 1000

COMPLETED, FAILED, INTERRUPTED, ABANDONED = "completed", "failed", "interrupted", "abandoned"


@dataclass(slots=True)
class _Open:
    run: RunContext
    active_ns: int
    opening: tuple[int, ...] = ()
    failed: bool = False


class ImplicitCommands:
    """The open commands that were inferred from model calls.

    They are found by what the model asked for, never just by where the code runs: a model call
    that answers a request's call id, or a tool call the model requested. So a thread or task that is
    used for something else never inherits one. `idle_s` is how long one stays open without a call.
    """

    def __init__(
        self, idle_s: float = 300.0, limit: int = MAX_OPEN, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._idle_ns = int(idle_s * 1e9)
        self._limit = limit
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._open: OrderedDict[int, _Open] = OrderedDict()  # by id of the run, least recently active first
        self._by_call_id: dict[str, RunContext] = {}
        self._here: ContextVar[RunContext | None] = ContextVar("otel_perfopt_implicit_run", default=None)

    def for_model_call(self, messages: Sequence[SentMessage], conversation_id: str, user_id: str) -> RunContext:
        """Return the open run whose requests `messages` answer, or open one."""
        self.close_idle()
        answered = trailing_call_ids(messages)
        run = self._answered_run(answered)
        if run is None:
            opening = tuple(message.fingerprint for message in messages[:2])
            self._end_turn(conversation_id, opening)
            run = self._begin(command_name(messages), conversation_id, user_id, opening)
        else:
            forget_requests(run, answered)
        self._here.set(run)
        self._touch(run)
        return run

    def for_tool_call(
        self, tool: str, arguments: Mapping[str, Any] | None, *, exact: bool
    ) -> tuple[RunContext | None, Asked | None]:
        """Return the open run that asked for this call, and its request: here, or the only one anywhere."""
        if not self._open:
            return None, None
        run = self._here.get()
        if run is not None and run.open:
            asked = find_request(run, tool, arguments, exact=exact)
            if asked is not None:
                self._touch(run)
                return run, asked
        return self._elsewhere(tool, arguments)

    def replied(self, run: RunContext, requests: Sequence[ToolRequest], *, final: bool, failed: bool = False) -> None:
        """Take a reply into account: one that asks for nothing ends the run."""
        with self._lock:
            entry = self._open.get(id(run))
            if entry is None:
                return
            entry.failed = failed
            for request in requests:
                if request.call_id:
                    self._by_call_id[request.call_id] = run
        self._touch(run)
        if final:
            self.close(run, COMPLETED)

    def close(self, run: RunContext, outcome: str, end_ns: int | None = None) -> None:
        """End a run; again is nothing."""
        with self._lock:
            entry = self._open.pop(id(run), None)
            if entry is None:
                return
            for call_id in [call_id for call_id, owner in self._by_call_id.items() if owner is run]:
                del self._by_call_id[call_id]
        run.open = False
        remember_ended(run)
        if entry.failed and outcome != COMPLETED:
            outcome = FAILED
        set_attributes(run.span, {c.COMMAND_OUTCOME: outcome, c.GEN_AI_CONVERSATION_ID: run.conversation_id or None})
        end_span(run.span, None, end_ns)

    def close_idle(self) -> None:
        """End the runs without a call for too long, as of their last call."""
        before = self._clock_ns() - self._idle_ns
        with self._lock:
            idle = []
            for entry in self._open.values():
                if entry.active_ns >= before:
                    break
                idle.append(entry)
        for entry in idle:
            self.close(entry.run, ABANDONED if unanswered(entry.run) else INTERRUPTED, entry.active_ns)

    def close_all(self) -> None:
        """End every open run, as of its last call: at exit, or when instrumentation is undone."""
        with self._lock:
            entries = list(self._open.values())
        for entry in entries:
            self.close(entry.run, INTERRUPTED, entry.active_ns)

    def after_fork(self) -> None:
        """Leave the open runs to the parent: calls made here still find them, and nothing ends them here."""
        self._lock = threading.Lock()
        for entry in self._open.values():
            entry.run.span = NonRecordingSpan(entry.run.span.get_span_context())

    def _answered_run(self, call_ids: Sequence[str]) -> RunContext | None:
        with self._lock:
            for call_id in call_ids:
                run = self._by_call_id.get(call_id)
                if run is not None and run.open:
                    return run
        return None

    def _end_turn(self, conversation_id: str, opening: tuple[int, ...]) -> None:
        """End what the user's new turn has overtaken; a helper's call in the same conversation begins otherwise."""
        with self._lock:
            overtaken = [
                entry.run
                for entry in self._open.values()
                if conversation_id and entry.run.conversation_id == conversation_id and entry.opening == opening
            ]
        for run in overtaken:
            self.close(run, INTERRUPTED)

    def _begin(self, command: str, conversation_id: str, user_id: str, opening: tuple[int, ...]) -> RunContext:
        attributes = {c.STEP_KIND: c.STEP_COMMAND, c.COMMAND_NAME: command}
        if conversation_id:
            attributes[c.GEN_AI_CONVERSATION_ID] = conversation_id
        if user_id:
            attributes[c.USER_ID] = user_id
        run = RunContext(command, conversation_id, user_id, start_span(command, attributes), implicit=True)
        state_preference(run)
        with self._lock:
            self._open[id(run)] = _Open(run, self._clock_ns(), opening)
            excess = list(self._open.values())[: max(0, len(self._open) - self._limit)]
        for entry in excess:
            self.close(entry.run, ABANDONED, entry.active_ns)
        run_began(run)
        return run

    def _touch(self, run: RunContext) -> None:
        with self._lock:
            entry = self._open.get(id(run))
            if entry is not None:
                entry.active_ns = self._clock_ns()
                self._open.move_to_end(id(run))

    def _elsewhere(self, tool: str, arguments: Mapping[str, Any] | None) -> tuple[RunContext | None, Asked | None]:
        with self._lock:
            runs = [entry.run for entry in self._open.values()]
        found = [(run, asked) for run in runs if (asked := find_request(run, tool, arguments, exact=True)) is not None]
        if len(found) != 1:
            return None, None
        self._touch(found[0][0])
        return found[0]


def trailing_call_ids(messages: Sequence[SentMessage]) -> tuple[str, ...]:
    """Return the ids of the requests that the last tool messages answer."""
    ids: list[str] = []
    for message in reversed(messages):
        if message.role == "tool":
            ids.extend(message.call_ids)
        elif ids or message.role == "assistant":
            break
    return tuple(ids)


def command_name(messages: Sequence[SentMessage]) -> str:
    """Return the last user message's leading `/word`, else the name of the script that runs."""
    for message in reversed(messages):
        if message.role == "user":
            if message.command:
                return message.command
            break
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    name = getattr(spec, "name", "") or Path(sys.argv[0] if sys.argv else "").stem
    return name.removesuffix(".__main__") or "interactive"


_commands = ImplicitCommands()


def commands() -> ImplicitCommands:
    """Return this process's open commands."""
    return _commands


def use(replacement: ImplicitCommands) -> None:
    """Replace this process's open commands (other limits)."""
    global _commands  # noqa: PLW0603 - one a process
    _commands = replacement
