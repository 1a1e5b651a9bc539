"""One chat's messages in, the `SpanRecord`s of its command, model calls and tool calls out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from otel_perfopt import conventions as names
from otel_perfopt.signal.digest import content_digest, flow_list
from otel_perfopt.signal.record import SpanEvent, SpanRecord
from otel_perfopt.signal.resource import resource_name
from otel_perfopt.signal.tool_effects import verb_effects

COMMAND_NAME: Final = "task"
CHARS_PER_TOKEN: Final = 4
MAX_VALUES: Final = 4096
_TICK_NS: Final = 1_000_000
_BETWEEN_CHATS_NS: Final = 1_000_000_000_000

Message = Mapping[str, Any]


def trajectory_spans(
    messages: Sequence[Message], *, identity: str, location: str, number: int, reward: float | None
) -> tuple[SpanRecord, ...]:
    """Return the spans of one chat, its command first.

    Each assistant message is one model call whose input is everything before it; what the call
    before it was given is what is resent. Each tool call takes the tick after the message that asks
    for it. A reward becomes an evaluation event, and one of 0 or less a failed outcome.
    """
    chat = _Chat(identity, location, number * _BETWEEN_CHATS_NS)
    for message in messages:
        role = message.get("role")
        if role == "assistant":
            chat.reply(message)
        elif role in ("tool", "function"):
            chat.answer(message)
        chat.sent_chars += _chars(message)
    return (chat.command(messages, reward), *chat.calls, *chat.tools())


@dataclass(slots=True)
class _Call:
    call_id: str
    name: str
    arguments: object
    requested_by: str
    start_ns: int
    result: str | None = None


@dataclass(slots=True)
class _Chat:
    identity: str
    location: str
    now_ns: int
    sent_chars: int = 0
    calls: list[SpanRecord] = field(default_factory=list)
    _begin_ns: int = 0
    _previous_input: int = 0
    _open: list[_Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._begin_ns = self.now_ns

    def reply(self, message: Message) -> None:
        """Note a model call, and the tool calls it asks for."""
        sent = _tokens(self.sent_chars)
        span_id = _hex(f"{self.identity} call {len(self.calls)}", 8)
        model = message.get("model")
        attributes: dict[str, Any] = {
            names.STEP_KIND: "inference",
            names.GEN_AI_OPERATION_NAME: names.OPERATION_CHAT,
            names.GEN_AI_USAGE_INPUT_TOKENS: sent,
            names.GEN_AI_USAGE_OUTPUT_TOKENS: _tokens(_chars(message)),
            names.CONTEXT_RESENT_TOKENS: min(self._previous_input, sent),
            names.TOKENS_ESTIMATED: True,
            names.DURATION_ESTIMATED: True,
        }
        if isinstance(model, str):
            attributes[names.GEN_AI_REQUEST_MODEL] = model
        self.calls.append(self._span(span_id, names.OPERATION_CHAT, self._tick(), attributes))
        self._previous_input = sent
        requests = list(_requests(message))
        start_ns = self._tick()[0] if requests else self.now_ns
        for call_id, name, arguments in requests:
            unique = call_id or f"{self.identity} {len(self._open)}"
            self._open.append(_Call(unique, name, arguments, span_id, start_ns))

    def answer(self, message: Message) -> None:
        """Note a tool's result at the call it answers: the one with its id, else the first open one of its name."""
        call_id, name = message.get("tool_call_id"), message.get("name")
        unanswered = [call for call in self._open if call.result is None]
        call = next((call for call in unanswered if call_id is not None and call.call_id == call_id), None)
        call = call or next((call for call in unanswered if call_id is None and name in (None, call.name)), None)
        if call is not None:
            call.result = _text(message.get("content"))

    def tools(self) -> Iterator[SpanRecord]:
        """Yield the tool calls."""
        for number, call in enumerate(self._open):
            yield self._tool(call, number)

    def command(self, messages: Sequence[Message], reward: float | None) -> SpanRecord:
        """Return the span that encloses the chat."""
        asked = [_text(message.get("content")) for message in messages if message.get("role") in ("user", "system")]
        known, cut = flow_list(asked, MAX_VALUES)
        attributes: dict[str, Any] = {
            names.STEP_KIND: "command",
            names.COMMAND_NAME: COMMAND_NAME,
            names.COMMAND_OUTCOME: "failed" if reward is not None and reward <= 0 else "completed",
            names.UNTIMED: True,
            names.DURATION_ESTIMATED: True,
            names.DATAFLOW_OUTPUTS: known,
            names.DATAFLOW_TRUNCATED: cut,
        }
        judged: tuple[SpanEvent, ...] = ()
        if reward is not None:
            score: dict[str, Any] = {
                names.GEN_AI_EVALUATION_NAME: "reward",
                names.GEN_AI_EVALUATION_SCORE_VALUE: reward,
            }
            judged = (SpanEvent(names.GEN_AI_EVALUATION_RESULT_EVENT, self.now_ns, score),)
        times = (self._begin_ns, self.now_ns)
        return self._span(self._root, COMMAND_NAME, times, attributes, parent="", events=judged)

    def _tool(self, call: _Call, number: int) -> SpanRecord:
        inputs, cut_in = flow_list(call.arguments, MAX_VALUES)
        attributes: dict[str, Any] = {
            names.STEP_KIND: "tool",
            names.GEN_AI_OPERATION_NAME: names.OPERATION_EXECUTE_TOOL,
            names.GEN_AI_TOOL_NAME: call.name,
            names.GEN_AI_TOOL_CALL_ID: call.call_id,
            names.TOOL_EFFECTS: verb_effects(call.name),
            names.ARGUMENTS_DIGEST: content_digest(call.arguments),
            names.DATAFLOW_INPUTS: inputs,
            names.DATAFLOW_TRUNCATED: cut_in,
            names.REQUESTED_BY: call.requested_by,
            names.DURATION_ESTIMATED: True,
        }
        resource = resource_name(call.arguments)
        if resource:
            attributes[names.TOOL_RESOURCE] = resource
        error: str | None = "unfinished"
        if call.result is not None:
            outputs, cut_out = flow_list(call.result, MAX_VALUES)
            attributes[names.RESULT_DIGEST] = content_digest(call.result)
            attributes[names.RESULT_TOKENS] = _tokens(len(call.result))
            told = frozenset(inputs)
            attributes[names.DATAFLOW_OUTPUTS] = tuple(value for value in outputs if value not in told)
            attributes[names.DATAFLOW_TRUNCATED] = cut_in or cut_out
            error = "tool_error" if call.result.lstrip().startswith("Error") else None
        span_id = _hex(f"{self.identity} tool {number}", 8)
        times = (call.start_ns, call.start_ns + _TICK_NS)
        return self._span(span_id, f"{names.OPERATION_EXECUTE_TOOL} {call.name}", times, attributes, error=error)

    def _tick(self) -> tuple[int, int]:
        start = self.now_ns
        self.now_ns += _TICK_NS
        return start, self.now_ns

    @property
    def _root(self) -> str:
        return _hex(f"{self.identity} command", 8)

    def _span(
        self,
        span_id: str,
        name: str,
        times: tuple[int, int],
        attributes: dict[str, Any],
        *,
        parent: str | None = None,
        error: str | None = None,
        events: tuple[SpanEvent, ...] = (),
    ) -> SpanRecord:
        trace = _hex(self.identity, 16)
        attributes[names.GEN_AI_CONVERSATION_ID] = trace
        if error is not None:
            attributes[names.ERROR_TYPE] = error
        return SpanRecord(
            trace_id=trace,
            span_id=span_id,
            parent_span_id=self._root if parent is None else parent,
            name=name,
            start_ns=times[0],
            end_ns=times[1],
            attributes=attributes,
            resource={names.SERVICE_NAME: "chat-trajectory"},
            events=events,
            scope=names.INSTRUMENTATION_SCOPE,
            error_type=error,
            location=self.location,
        )


def _requests(message: Message) -> Iterator[tuple[str, str, object]]:
    """Yield (id, name, arguments) of each tool call asked for, of the older single `function_call` too."""
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, Mapping) and isinstance(call.get("function"), Mapping):
            identity = call.get("id")
            yield identity if isinstance(identity, str) else "", *_function(call["function"])
    if isinstance(message.get("function_call"), Mapping):
        yield "", *_function(message["function_call"])


def _function(function: Message) -> tuple[str, object]:
    name, arguments = function.get("name"), function.get("arguments")
    if isinstance(arguments, str):
        # Arguments that are no JSON are compared as the text they are.
        with suppress(ValueError, RecursionError):
            arguments = json.loads(arguments)
    return name if isinstance(name, str) else "unknown", arguments


def _chars(message: Message) -> int:
    """Characters of a message that a model reads or writes: text, and tool calls as JSON."""
    chars = len(_text(message.get("content")))
    for key in ("tool_calls", "function_call"):
        if message.get(key):
            chars += sum(len(name) + len(_as_json(arguments)) for _, name, arguments in _requests(message))
            break
    return chars


def _as_json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, Mapping))
    return "\n".join(text for text in texts if isinstance(text, str))


def _tokens(chars: int) -> int:
    return -(-chars // CHARS_PER_TOKEN)


def _hex(text: str, size: int) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
