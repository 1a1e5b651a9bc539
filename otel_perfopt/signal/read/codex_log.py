"""One decoded OTLP JSON line of logs in, Codex's events (`codex.*`) out: prompts, model replies, tool results.

Names are those of openai/codex, codex-rs/otel/src/events. Codex writes an event once for logs (with
content and identity) and once for traces (with neither), and its exporters may send both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from otel_perfopt import conventions as c
from otel_perfopt.signal.dialect import normalise
from otel_perfopt.signal.read.moment import parse_moment
from otel_perfopt.signal.read.otlp_line import attributes_of
from otel_perfopt.signal.record import Attributes, AttributeValue

LOGS: Final = "resourceLogs"
PROMPT: Final = "codex.user_prompt"
REQUEST: Final = "codex.api_request"
REPLY: Final = "codex.sse_event"
SOCKET_REPLY: Final = "codex.websocket_event"
TOOL: Final = "codex.tool_result"
_READ: Final = frozenset({PROMPT, REQUEST, REPLY, SOCKET_REPLY, TOOL})
_COMPLETED: Final = "response.completed"
_FAILED: Final = "response.failed"
_TWINS_NS: Final = 100_000_000
# Codex's word -> ours, on an event of a reply and of a tool.
_REPLY_NAMES: Final = {
    "model": c.GEN_AI_REQUEST_MODEL,
    "input_token_count": c.GEN_AI_USAGE_INPUT_TOKENS,
    "output_token_count": c.GEN_AI_USAGE_OUTPUT_TOKENS,
    "cached_token_count": c.GEN_AI_USAGE_CACHE_READ_TOKENS,
    "cache_write_token_count": c.GEN_AI_USAGE_CACHE_WRITE_TOKENS,
    "reasoning_token_count": c.GEN_AI_USAGE_REASONING_TOKENS,
    "ttft_ms": "ttft_ms",
}
_TOOL_NAMES: Final = {
    "tool_name": c.GEN_AI_TOOL_NAME,
    "call_id": c.GEN_AI_TOOL_CALL_ID,
    "arguments": c.GEN_AI_TOOL_CALL_ARGUMENTS,
    "output": c.GEN_AI_TOOL_CALL_RESULT,
}


@dataclass(frozen=True, slots=True)
class CodexEvent:
    """One event of a conversation, in our vocabulary and without content.

    `name` is one of the constants above (`SOCKET_REPLY` comes as `REPLY`); `time_ns` is when it was
    over, `duration_ns` how long it took where it says so. An event's two records are `twins`.
    """

    conversation_id: str
    name: str
    time_ns: int
    duration_ns: int | None
    attributes: Attributes
    resource: Attributes
    error_type: str | None
    location: str

    def is_twin(self, other: CodexEvent) -> bool:
        """Tell whether both records are of one event: written within moments, with the same facts."""
        if self.name != other.name or abs(self.time_ns - other.time_ns) > _TWINS_NS:
            return False
        named = (c.GEN_AI_TOOL_CALL_ID, c.GEN_AI_TOOL_NAME, c.GEN_AI_USAGE_INPUT_TOKENS, c.GEN_AI_USAGE_OUTPUT_TOKENS)
        return self.duration_ns == other.duration_ns and all(
            self.attributes.get(name) == other.attributes.get(name) for name in named
        )

    def with_more(self, other: CodexEvent) -> CodexEvent:
        """Return this event with what only its other record says."""
        return replace(
            self, attributes={**other.attributes, **self.attributes}, error_type=self.error_type or other.error_type
        )


def events_of(line: Mapping[str, Any], location: str) -> Iterator[CodexEvent]:
    """Yield Codex's events on one line (OTLP/JSON's mapping of `LogsData`); other records are passed over."""
    for resource_logs in _maps(line.get(LOGS)):
        resource = attributes_of(_map(resource_logs.get("resource")).get("attributes"))
        for scope_logs in _maps(resource_logs.get("scopeLogs")):
            for record in _maps(scope_logs.get("logRecords")):
                said = attributes_of(record.get("attributes"))
                event = _event(record, said, resource, location)
                if event is not None:
                    yield event


def _event(record: Mapping[str, Any], said: Attributes, resource: Attributes, location: str) -> CodexEvent | None:
    name, conversation = _name(record, said), said.get("conversation.id")
    time_ns = _time_ns(record, said)
    if name not in _READ or not isinstance(conversation, str) or not conversation or time_ns is None:
        return None
    error = _error(name, said)
    if name in (REPLY, SOCKET_REPLY):
        name = REPLY
        kind = said.get("event.kind")
        if kind != _FAILED and not (kind == _COMPLETED and ("input_token_count" in said or error)):
            return None  # a fragment of a stream
    if name == REQUEST and not _calls_a_model(said):
        return None
    return CodexEvent(
        conversation_id=conversation,
        name=name,
        time_ns=time_ns,
        duration_ns=_duration_ns(said) if name in (REQUEST, TOOL) else None,
        attributes=_attributes(name, said, conversation),
        resource=resource,
        error_type=error,
        location=location,
    )


def _name(record: Mapping[str, Any], said: Attributes) -> str:
    for value in (said.get("event.name"), record.get("eventName"), _map(record.get("body")).get("stringValue")):
        if isinstance(value, str) and value.startswith("codex."):
            return value
    # The record for logs may come without its name; what it holds tells.
    if "tool_name" in said and "duration_ms" in said:
        return TOOL
    if "input_token_count" in said:
        return REPLY
    return PROMPT if "prompt_length" in said else ""


def _attributes(name: str, said: Attributes, conversation: str) -> dict[str, AttributeValue]:
    names = _TOOL_NAMES if name == TOOL else _REPLY_NAMES
    found = {ours: said[theirs] for theirs, ours in names.items() if theirs in said}
    for ours, value in found.items():
        if ours.startswith("gen_ai.usage.") and isinstance(value, str) and value.isdigit():
            found[ours] = int(value)
    found[c.GEN_AI_OPERATION_NAME] = {
        PROMPT: c.OPERATION_INVOKE_AGENT,
        TOOL: c.OPERATION_EXECUTE_TOOL,
    }.get(name, c.OPERATION_CHAT)
    found[c.GEN_AI_CONVERSATION_ID] = conversation
    if isinstance(said.get("user.account_id"), str):
        found[c.USER_ID] = said["user.account_id"]
    return normalise(name, found)


def _error(name: str, said: Attributes) -> str | None:
    status = said.get("http.response.status_code")
    if isinstance(status, int) and status >= 400:
        return str(status)
    failed = "error.message" in said or str(said.get("success", "true")).lower() == "false"
    return "error" if failed or (name == REPLY and said.get("event.kind") == _FAILED) else None


def _calls_a_model(said: Attributes) -> bool:
    endpoint = said.get("endpoint")
    return not isinstance(endpoint, str) or endpoint in ("", "unknown") or "responses" in endpoint


def _duration_ns(said: Attributes) -> int | None:
    try:
        milliseconds = float(said["duration_ms"])  # type: ignore[arg-type]  # a number, or its text
    except (KeyError, TypeError, ValueError):
        return None
    return int(milliseconds * 1e6) if 0 <= milliseconds < 1e12 else None


def _time_ns(record: Mapping[str, Any], said: Attributes) -> int | None:
    stamp = said.get("event.timestamp")
    moment = parse_moment(stamp)
    if moment is not None:
        return moment[0]
    for name in ("timeUnixNano", "observedTimeUnixNano"):
        try:
            value = int(record[name])
        except (KeyError, TypeError, ValueError):
            continue
        if value > 0:
            return value
    return None


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _maps(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))
