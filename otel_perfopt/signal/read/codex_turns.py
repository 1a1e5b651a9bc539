"""Codex's events in, one trace a turn out: the prompt as command, its model calls and tool calls as spans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from otel_perfopt import conventions as c
from otel_perfopt.signal.read.codex_log import PROMPT, REPLY, REQUEST, TOOL, CodexEvent
from otel_perfopt.signal.record import AttributeValue, SpanRecord

SCOPE: Final = "codex_otel"
AGENT: Final = "codex"
# Between an event's two records others may be written.
_TWIN_PLACES: Final = 8
_KINDS: Final = {REPLY: c.STEP_INFERENCE, REQUEST: c.STEP_INFERENCE, TOOL: c.STEP_TOOL}


@dataclass(slots=True)
class CodexTurns:
    """Collects events of any order; memory grows with the number of events, a few hundred bytes each."""

    _events: dict[str, list[CodexEvent]] = field(default_factory=dict)

    def take_all(self, events: Iterable[CodexEvent]) -> None:
        """Take the events of one line."""
        for event in events:
            self._events.setdefault(event.conversation_id, []).append(event)

    def batches(self) -> Iterator[tuple[SpanRecord, ...]]:
        """Yield the spans of each turn, conversation by conversation."""
        for conversation, events in self._events.items():
            for number, turn in enumerate(_turns(_once(events))):
                yield tuple(_spans(conversation, number, turn))


def _once(events: Sequence[CodexEvent]) -> list[CodexEvent]:
    kept: list[CodexEvent] = []
    for event in sorted(events, key=lambda event: (event.time_ns, event.name)):
        places = range(len(kept) - 1, max(-1, len(kept) - 1 - _TWIN_PLACES), -1)
        twin = next((place for place in places if event.is_twin(kept[place])), None)
        if twin is None:
            kept.append(event)
        else:
            kept[twin] = kept[twin].with_more(event)
    return kept


def _turns(events: Sequence[CodexEvent]) -> Iterator[list[CodexEvent]]:
    turn: list[CodexEvent] = []
    for event in events:
        if event.name == PROMPT and turn:
            yield turn
            turn = []
        turn.append(event)
    if turn:
        yield turn


def _spans(conversation: str, number: int, turn: Sequence[CodexEvent]) -> Iterator[SpanRecord]:
    trace_id = _digest(16, conversation, str(number))
    root = _digest(8, trace_id, "turn")
    first = turn[0]
    steps = list(_steps(turn, trace_id, root))
    start_ns = min([first.time_ns, *(step.start_ns for step in steps)])
    attributes: dict[str, AttributeValue] = {
        c.STEP_KIND: c.STEP_COMMAND,
        c.GEN_AI_OPERATION_NAME: c.OPERATION_INVOKE_AGENT,
        c.GEN_AI_AGENT_NAME: AGENT,
        c.GEN_AI_CONVERSATION_ID: conversation,
    }
    user = next((event.attributes[c.USER_ID] for event in turn if c.USER_ID in event.attributes), None)
    if user is not None:
        attributes[c.USER_ID] = user
    yield SpanRecord(
        trace_id=trace_id,
        span_id=root,
        parent_span_id="",
        name=f"{c.OPERATION_INVOKE_AGENT} {AGENT}",
        start_ns=start_ns,
        end_ns=max([first.time_ns, *(step.end_ns for step in steps)]),
        attributes=attributes,
        resource=first.resource,
        scope=SCOPE,
        location=first.location,
    )
    yield from steps


def _steps(turn: Sequence[CodexEvent], trace_id: str, root: str) -> Iterator[SpanRecord]:
    """Time the steps: a tool's event says how long it took; a reply began with the request before it.

    A request's event comes when its answer begins. Where a reply has none of its own (a connection
    that is kept open), it began when the step before it was over, and its duration is estimated.
    """
    since_ns, request = turn[0].time_ns, None
    for place, event in enumerate(turn):
        if event.name == PROMPT:
            since_ns = event.time_ns
        elif event.name == REQUEST and event.error_type is None:
            request = event
        else:
            start_ns, estimated = since_ns, False
            if event.name == REPLY and request is not None:
                start_ns, request = request.time_ns - (request.duration_ns or 0), None
            elif event.duration_ns is not None:
                start_ns = event.time_ns - event.duration_ns
            else:
                estimated = True
            yield _step(event, trace_id, root, place, min(start_ns, event.time_ns), estimated=estimated)
            since_ns = event.time_ns


def _step(event: CodexEvent, trace_id: str, root: str, place: int, start_ns: int, *, estimated: bool) -> SpanRecord:
    attributes = {**event.attributes, c.STEP_KIND: _KINDS[event.name]}
    if event.error_type is not None:
        attributes[c.ERROR_TYPE] = event.error_type
    if estimated:
        attributes[c.DURATION_ESTIMATED] = True
    return SpanRecord(
        trace_id=trace_id,
        span_id=_digest(8, trace_id, str(place)),
        parent_span_id=root,
        name=event.name,
        start_ns=start_ns,
        end_ns=event.time_ns,
        attributes=attributes,
        resource=event.resource,
        scope=SCOPE,
        error_type=event.error_type,
        location=event.location,
    )


def _digest(size: int, *parts: str) -> str:
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
