"""Random traces, most of them plain runs and some broken in every way that traces are."""

from __future__ import annotations

import random
from dataclasses import replace

from otel_perfopt import conventions as c
from otel_perfopt.signal.record import SpanRecord

SECOND = 10**9
START = 1_790_000_000 * SECOND
_KINDS = ("inference", "inference", "tool", "tool", "tool", "retrieval", "thinking", "other", "module_load")
_TOOLS = ("search", "read_file", "write_file", "ask")
_EFFECTS = {"search": "read", "read_file": "read", "write_file": "write"}


def trace(chance: random.Random, number: int, *, odd: float = 0.2) -> list[SpanRecord]:
    """Return one trace of up to fourteen spans, on a grid of tenths of a second; `odd` is the share of broken ones."""
    begin = START + chance.randrange(5 * 3600) * SECOND
    trace_id = f"{number + 1:032x}"
    size = chance.randrange(1, 15)
    length = chance.randrange(0, 60)
    spans = [_root(chance, trace_id, begin, length, number)]
    for place in range(1, size):
        parent = spans[0] if chance.random() < 0.6 else chance.choice(spans)
        spans.append(_step(chance, trace_id, begin, length, place, parent, spans))
    if chance.random() < odd:
        spans = chance.choice(_BREAKS)(chance, spans)
    chance.shuffle(spans)
    return spans


def _root(chance: random.Random, trace_id: str, begin: int, length: int, number: int) -> SpanRecord:
    attributes = {c.GEN_AI_CONVERSATION_ID: f"conversation-{number // 3}"} if chance.random() < 0.8 else {}
    way = chance.random()
    if way < 0.8:
        attributes |= {c.STEP_KIND: "command", c.COMMAND_NAME: chance.choice(("/ask", "/report", "/plan"))}
    elif way < 0.9:
        attributes |= {c.GEN_AI_OPERATION_NAME: "invoke_agent", c.GEN_AI_AGENT_NAME: "helper"}
    if chance.random() < 0.2:
        attributes[c.COMMAND_OUTCOME] = chance.choice(("failed", "completed", "interrupted"))
    return SpanRecord(
        trace_id, "00000000000000f0", "", "command", begin, begin + length * SECOND // 10, attributes,
        {"service.name": chance.choice(("front", "back"))}, scope="s",
        error_type="TimeoutError" if chance.random() < 0.1 else None,
    )  # fmt: skip


def _step(  # noqa: PLR0917 - a trace's own builder
    chance: random.Random,
    trace_id: str,
    begin: int,
    length: int,
    place: int,
    parent: SpanRecord,
    spans: list[SpanRecord],
) -> SpanRecord:
    kind = chance.choice(_KINDS)
    start = begin + chance.randrange(-2, length + 3) * SECOND // 10
    if chance.random() < 0.9:
        # Most steps lie inside what they belong to.
        span_s = max(0, parent.end_ns - parent.start_ns) * 10 // SECOND
        start = parent.start_ns + chance.randrange(0, span_s + 1) * SECOND // 10
    attributes: dict = {c.STEP_KIND: kind}
    error = "RateLimit" if chance.random() < 0.1 else None
    if kind == "inference":
        attributes |= {c.GEN_AI_REQUEST_MODEL: chance.choice(("large", "small"))}
        attributes |= {c.GEN_AI_USAGE_INPUT_TOKENS: chance.randrange(9000)} if chance.random() < 0.9 else {}
        attributes |= {c.GEN_AI_USAGE_OUTPUT_TOKENS: chance.randrange(900)} if chance.random() < 0.9 else {}
        attributes |= {c.GEN_AI_USAGE_CACHE_READ_TOKENS: chance.randrange(900)} if chance.random() < 0.5 else {}
        attributes |= {c.COST_USD: chance.randrange(1, 9) / 8} if chance.random() < 0.3 else {}
    if kind == "tool":
        name = chance.choice(_TOOLS)
        attributes |= {c.GEN_AI_TOOL_NAME: name, c.ARGUMENTS_DIGEST: chance.choice("abcd")}
        attributes |= {c.TOOL_EFFECTS: _EFFECTS[name]} if name in _EFFECTS else {}
        attributes |= {c.RESULT_DIGEST: chance.choice("xy")} if chance.random() < 0.8 else {}
        attributes |= {c.TOOL_RESOURCE: chance.choice(("a", "a/b", "b", "order_id=1", "order_id=2"))}
        asking = [span for span in spans if span.attributes.get(c.STEP_KIND) == "inference"]
        if asking and chance.random() < 0.5:
            attributes[c.REQUESTED_BY] = chance.choice(asking).span_id
        if chance.random() < 0.05:
            error = "user_rejected"
        if chance.random() < 0.3:
            attributes[c.RESULT_TOKENS] = chance.randrange(500)
        if chance.random() < 0.1:
            attributes[c.WAITS_FOR_USER] = True
    if chance.random() < 0.1:
        attributes[c.DURATION_ESTIMATED] = True
    end = start + chance.randrange(0, 12) * SECOND // 10
    return SpanRecord(
        trace_id,
        f"{place:016x}",
        parent.span_id,
        f"{kind} step",
        start,
        end,
        attributes,
        {},
        scope="s",
        error_type=error,
    )


def _two_runs(chance: random.Random, spans: list[SpanRecord]) -> list[SpanRecord]:
    other = chance.choice(spans)
    second = {c.STEP_KIND: "command", c.COMMAND_NAME: "/second"}
    return [*spans, replace(other, span_id="00000000000000f1", parent_span_id="", attributes=second)]


def _lost_parent(chance: random.Random, spans: list[SpanRecord]) -> list[SpanRecord]:
    lost = chance.choice(spans)
    return [replace(span, parent_span_id="dead") if span is lost else span for span in spans]


def _server_around(chance: random.Random, spans: list[SpanRecord]) -> list[SpanRecord]:
    root = spans[0]
    server = replace(
        root, span_id="00000000000000f2", name="POST /", start_ns=root.start_ns - chance.randrange(3) * SECOND,
        attributes={}, error_type=None,
    )  # fmt: skip
    return [server, replace(root, parent_span_id=server.span_id), *spans[1:]]


def _usage_above(chance: random.Random, spans: list[SpanRecord]) -> list[SpanRecord]:
    above = chance.choice(spans)
    told = {c.GEN_AI_USAGE_INPUT_TOKENS: 5000, c.GEN_AI_USAGE_OUTPUT_TOKENS: 70}
    return [replace(span, attributes={**span.attributes, **told}) if span is above else span for span in spans]


def _two_layers(chance: random.Random, spans: list[SpanRecord]) -> list[SpanRecord]:
    of = [span for span in spans if span.attributes.get(c.STEP_KIND) in ("inference", "tool")]
    if not of:
        return spans
    told = chance.choice(of)
    inner = replace(told, span_id="00000000000000f3", parent_span_id=told.span_id, scope="other layer")
    return [*spans, inner]


def _untimed(_: random.Random, spans: list[SpanRecord]) -> list[SpanRecord]:
    return [replace(spans[0], attributes={**spans[0].attributes, c.UNTIMED: True}), *spans[1:]]


def _cycle(chance: random.Random, spans: list[SpanRecord]) -> list[SpanRecord]:
    one, other = chance.choice(spans), chance.choice(spans)
    return [replace(span, parent_span_id=other.span_id) if span is one else span for span in spans]


def _open(_: random.Random, spans: list[SpanRecord]) -> list[SpanRecord]:
    rest = [replace(span, scope=c.INSTRUMENTATION_SCOPE) for span in spans[1:]]
    return rest or spans


_BREAKS = (_two_runs, _lost_parent, _server_around, _usage_above, _two_layers, _untimed, _cycle, _open)
