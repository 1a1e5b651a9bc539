"""A finished turn in, the `SpanRecord`s of its command, model calls, thinking and tool calls out."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from itertools import filterfalse
from typing import Any, Final

from otel_perfopt import conventions as names
from otel_perfopt.signal.digest import content_digest, flow_list
from otel_perfopt.signal.read.turn import MAIN_THREAD, Message, ToolUse, Turn
from otel_perfopt.signal.record import SpanEvent, SpanRecord
from otel_perfopt.signal.resource import resource_name
from otel_perfopt.signal.tool_effects import READ, WRITE, claude_code_effects, waits_for_user

MAX_INPUT_VALUES: Final = 512
SERVICE: Final = "claude-code"
PROVIDER: Final = "anthropic"
_FAILED_COMMANDS: Final = "api_error"


def turn_spans(
    turn: Turn, path: str, previous_input: int | None, is_new: Callable[[str], bool]
) -> tuple[tuple[SpanRecord, ...], int | None]:
    """Return the turn's spans, and the input size of its last call in the main conversation.

    `previous_input` is that size for the turn before; `is_new` drops messages and calls that
    another file already had. The command comes first.
    """
    writer = _Writer(turn, path)
    spans = [writer.command()]
    context: dict[str, int | None] = {MAIN_THREAD: previous_input}
    for message in sorted(turn.messages.values(), key=lambda message: (message.start_ns, message.line)):
        resent = _resent(message, context.get(message.thread, 0))
        if message.usage.total_input:
            context[message.thread] = message.usage.total_input
        if not is_new(f"message {message.message_id}"):
            continue
        spans.append(writer.inference(message, resent))
        spans.extend(writer.thinking(message, number) for number in range(len(message.thinking)))
    ends = _serial_starts(turn)
    spans.extend(
        writer.tool(tool, ends[tool.call_id]) for tool in turn.tools.values() if is_new(f"tool {tool.call_id}")
    )
    return tuple(spans), context[MAIN_THREAD]


def _resent(message: Message, previous: int | None) -> int | None:
    """Return how much of the call's input the conversation's previous call had already sent.

    Contexts only grow, so it is all of the previous input. After a compaction it is what the cache
    proves to have been sent before.
    """
    current = message.usage.total_input
    if current is None or previous is None:
        return None
    if message.starts_afresh:
        return min(current, message.usage.cache_read or 0)
    return min(current, previous)


def _serial_starts(turn: Turn) -> dict[str, int]:
    """Return when each call could start.

    Claude Code starts a call when its block is complete, but runs a writing tool alone: it waits
    for the calls asked for before it in the same message, and those after it wait for it.
    """
    starts: dict[str, int] = {}
    for message in turn.messages.values():
        barrier_ns = answered_ns = 0
        for tool in message.tools:
            start = tool.asked_ns
            writes = claude_code_effects(tool.name) == WRITE
            waited_for = max(barrier_ns, answered_ns) if writes else barrier_ns
            if tool.end_ns is not None and start < waited_for <= tool.end_ns:
                start = waited_for
            starts[tool.call_id] = start
            answered_ns = max(answered_ns, tool.end_ns or 0)
            if writes:
                barrier_ns = max(barrier_ns, tool.end_ns or 0)
    return starts


class _Writer:
    def __init__(self, turn: Turn, path: str) -> None:
        self._turn = turn
        self._path = path
        self._trace = _hex(f"{turn.session} {turn.key}", 16)
        self._root = _hex(f"command {turn.key}", 8)
        self._resource = {names.SERVICE_NAME: SERVICE}
        if turn.version:
            self._resource["service.version"] = turn.version

    def command(self) -> SpanRecord:
        turn = self._turn
        known, cut = flow_list([turn.prompt, turn.folder], MAX_INPUT_VALUES)
        outcome = _outcome(turn)
        attributes: dict[str, Any] = {
            names.STEP_KIND: "command",
            names.COMMAND_NAME: turn.name,
            names.COMMAND_OUTCOME: outcome,
            names.GEN_AI_OPERATION_NAME: names.OPERATION_INVOKE_AGENT,
            names.DATAFLOW_OUTPUTS: known,
            names.DATAFLOW_TRUNCATED: cut,
        }
        if turn.active_ms is not None:
            attributes[names.COMMAND_ACTIVE_TIME] = turn.active_ms / 1000
        events = tuple(
            SpanEvent(
                "compaction", moment, {key: value for key, value in details.items() if isinstance(value, (str, int))}
            )
            for moment, details in turn.compactions
        )
        error = _FAILED_COMMANDS if outcome == "failed" else None
        times = (turn.start_ns, turn.end_ns)
        return self._span(
            self._root,
            "",
            turn.name,
            times=times,
            attributes=attributes,
            place=(MAIN_THREAD, turn.line),
            error=error,
            events=events,
        )

    def inference(self, message: Message, resent: int | None) -> SpanRecord:
        usage = message.usage
        attributes: dict[str, Any] = {
            names.STEP_KIND: "inference",
            names.GEN_AI_OPERATION_NAME: names.OPERATION_CHAT,
            names.GEN_AI_PROVIDER_NAME: PROVIDER,
            names.GEN_AI_RESPONSE_ID: message.message_id,
        }
        counts = {
            names.GEN_AI_USAGE_INPUT_TOKENS: usage.total_input,
            names.GEN_AI_USAGE_CACHE_READ_TOKENS: usage.cache_read,
            names.GEN_AI_USAGE_CACHE_WRITE_TOKENS: usage.cache_write,
            names.GEN_AI_USAGE_OUTPUT_TOKENS: usage.output,
            names.CONTEXT_RESENT_TOKENS: resent,
        }
        attributes.update({name: count for name, count in counts.items() if count is not None})
        if message.model:
            attributes[names.GEN_AI_REQUEST_MODEL] = attributes[names.GEN_AI_RESPONSE_MODEL] = message.model
        if message.stop_reason:
            attributes[names.GEN_AI_RESPONSE_FINISH_REASONS] = (message.stop_reason,)
        elif usage.output is not None:
            attributes[names.OUTPUT_LOWER_BOUND] = True
        name = f"{names.OPERATION_CHAT} {message.model}".strip()
        return self._span(
            _message_id(message),
            self._parent(message.thread),
            name,
            times=(message.start_ns, message.end_ns),
            attributes=attributes,
            place=(message.thread, message.line),
            error=message.error_type,
        )

    def thinking(self, message: Message, number: int) -> SpanRecord:
        start, end, line = message.thinking[number]
        attributes: dict[str, Any] = {names.STEP_KIND: "thinking", names.DURATION_ESTIMATED: True}
        if message.model:
            attributes[names.GEN_AI_REQUEST_MODEL] = message.model
        identity = _hex(f"thinking {message.message_id} {number}", 8)
        return self._span(
            identity,
            _message_id(message),
            "thinking",
            times=(start, end),
            attributes=attributes,
            place=(message.thread, line),
        )

    def tool(self, tool: ToolUse, start_ns: int) -> SpanRecord:
        effects = claude_code_effects(tool.name)
        inputs, cut = flow_list(tool.arguments, MAX_INPUT_VALUES)
        result = dict(tool.result)
        if names.DATAFLOW_OUTPUTS in result:
            # What a result merely repeats of its arguments did not come from it.
            told = frozenset(inputs)
            result[names.DATAFLOW_OUTPUTS] = tuple(filterfalse(told.__contains__, result[names.DATAFLOW_OUTPUTS]))
        attributes: dict[str, Any] = {
            names.STEP_KIND: "tool",
            names.GEN_AI_OPERATION_NAME: names.OPERATION_EXECUTE_TOOL,
            names.GEN_AI_TOOL_NAME: tool.name,
            names.GEN_AI_TOOL_CALL_ID: tool.call_id,
            names.TOOL_EFFECTS: effects,
            names.ARGUMENTS_DIGEST: content_digest(tool.arguments),
            names.DATAFLOW_INPUTS: inputs,
            names.REQUESTED_BY: _message_id(self._turn.messages[tool.message_id]),
            **result,
        }
        attributes[names.DATAFLOW_TRUNCATED] = cut or bool(result.get(names.DATAFLOW_TRUNCATED))
        resource = resource_name(tool.arguments) if effects in (READ, WRITE) else ""
        if resource:
            attributes[names.TOOL_RESOURCE] = resource
        if waits_for_user(tool.name):
            attributes[names.WAITS_FOR_USER] = True
        if tool.end_ns is None or start_ns != tool.asked_ns:
            attributes[names.DURATION_ESTIMATED] = True
        error = "unfinished" if tool.end_ns is None else tool.error_type
        end_ns = start_ns if tool.end_ns is None else max(start_ns, tool.end_ns)
        name = f"{names.OPERATION_EXECUTE_TOOL} {tool.name}"
        times = (start_ns, end_ns)
        parent = self._parent(tool.thread)
        return self._span(
            _tool_id(tool),
            parent,
            name,
            times=times,
            attributes=attributes,
            place=(tool.thread, tool.line),
            error=error,
        )

    def _parent(self, thread: str) -> str:
        caller = self._turn.threads[thread].parent_call if thread in self._turn.threads else ""
        tool = self._turn.tools.get(caller)
        return _tool_id(tool) if tool is not None else self._root

    def _file(self, thread: str) -> str:
        known = self._turn.threads.get(thread)
        return known.path if known is not None and known.path else self._path

    def _span(
        self,
        span_id: str,
        parent: str,
        name: str,
        *,
        times: tuple[int, int],
        attributes: dict[str, Any],
        place: tuple[str, int],
        error: str | None = None,
        events: tuple[SpanEvent, ...] = (),
    ) -> SpanRecord:
        attributes[names.GEN_AI_CONVERSATION_ID] = self._turn.session
        if error is not None:
            attributes[names.ERROR_TYPE] = error
        return SpanRecord(
            trace_id=self._trace,
            span_id=span_id,
            parent_span_id=parent,
            name=name,
            start_ns=times[0],
            end_ns=times[1],
            attributes=attributes,
            resource=self._resource,
            events=events,
            scope=names.INSTRUMENTATION_SCOPE,
            error_type=error,
            location=f"{self._file(place[0])}:{place[1]}",
        )


def _outcome(turn: Turn) -> str:
    if turn.interrupted:
        return "interrupted"
    if turn.local or (turn.name.startswith("/") and not turn.messages):
        return "completed"
    main = [message for message in turn.messages.values() if message.thread == MAIN_THREAD]
    if not main:
        return "abandoned"
    last = max(main, key=lambda message: (message.end_ns, message.line))
    if last.error_type is not None:
        return "failed"
    return "abandoned" if last.tools else "completed"


def _message_id(message: Message) -> str:
    return _hex(f"message {message.message_id}", 8)


def _tool_id(tool: ToolUse) -> str:
    return _hex(f"tool {tool.call_id}", 8)


def _hex(text: str, size: int) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
