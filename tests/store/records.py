"""Generated spans: hypothesis strategies for odd ones, and plain runs with known contents."""

from __future__ import annotations

from hypothesis import strategies as st

from otel_perfopt.signal.record import SpanEvent, SpanRecord

SECOND = 10**9
START = 1_790_000_000 * SECOND

_TEXT = st.text(max_size=12)
_ODD_TEXT = st.one_of(_TEXT, st.sampled_from(["\ud800", "a\ud83d", "'", "\\", "\x00", "5", "true", "[1]", "é"]))
_FLOATS = st.floats(allow_nan=False)
_VALUES = st.one_of(
    _ODD_TEXT,
    st.booleans(),
    st.integers(),
    _FLOATS,
    st.lists(_ODD_TEXT, max_size=3).map(tuple),
    st.lists(st.booleans(), max_size=3),
    st.lists(st.integers(), max_size=3).map(tuple),
    st.lists(_FLOATS, max_size=3),
)
_NAMES = st.one_of(
    _ODD_TEXT, st.sampled_from(["perfopt.step.kind", "gen_ai.usage.input_tokens", "perfopt.store.types"])
)
_ATTRIBUTES = st.dictionaries(_NAMES, _VALUES, max_size=4)
_MOMENTS = st.one_of(
    st.integers(START, START + 10**15), st.integers(-(10**12), 10**12), st.sampled_from([0, 1 << 63, (1 << 63) - 1])
)
_EVENTS = st.builds(SpanEvent, name=_ODD_TEXT, time_ns=_MOMENTS, attributes=_ATTRIBUTES)

odd_records = st.builds(
    SpanRecord,
    trace_id=st.integers(1, 1 << 127).map(lambda number: f"{number:032x}"),
    span_id=st.integers(1, 1 << 63).map(lambda number: f"{number:016x}"),
    parent_span_id=_ODD_TEXT,
    name=_ODD_TEXT,
    start_ns=_MOMENTS,
    end_ns=_MOMENTS,
    attributes=_ATTRIBUTES,
    resource=_ATTRIBUTES,
    events=st.lists(_EVENTS, max_size=2).map(tuple),
    scope=_ODD_TEXT,
    error_type=st.one_of(st.none(), _ODD_TEXT),
    location=_ODD_TEXT,
)


def run(number: int, *, start_ns: int | None = None, tools: int = 3, command: str = "/ask") -> list[SpanRecord]:
    """Return one command with `tools` tool calls, a second each, begun `number` minutes after `START`."""
    begin = START + number * 60 * SECOND if start_ns is None else start_ns
    trace_id = f"{number + 1:032x}"
    resource = {"service.name": "agent"}
    root = SpanRecord(
        trace_id,
        f"{(number + 1) << 16:016x}",
        "",
        f"command {command}",
        begin,
        begin + (tools + 1) * SECOND,
        {
            "perfopt.step.kind": "command",
            "perfopt.command.name": command,
            "gen_ai.conversation.id": f"conversation-{number // 4}",
        },
        resource,
        scope="perfopt",
    )
    steps = [
        SpanRecord(
            trace_id,
            f"{((number + 1) << 16) + 1 + place:016x}",
            root.span_id,
            "execute_tool search",
            begin + place * SECOND,
            begin + (place + 1) * SECOND,
            {
                "perfopt.step.kind": "tool",
                "gen_ai.tool.name": "search",
                "perfopt.dataflow.inputs": (f"in{place}",),
                "perfopt.tool.result.tokens": 17 + place,
            },
            resource,
            scope="perfopt",
        )
        for place in range(tools)
    ]
    return [root, *steps]
