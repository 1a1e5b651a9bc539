"""Calls in the order of their conversation: a store in, the SQL of each conversation's calls out, and how to ask it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from otel_perfopt.measure.sql.conversations import around
from otel_perfopt.measure.sql.span_fields import COMMAND, INFERENCE, RETRIEVAL, RUNS, TOOL, span_fields
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import Window

# What a conversation's calls take is held at once: of more spans than this, a part of the conversations at a time.
_AT_ONCE: Final = 2_000_000

_CONVERSATIONS: Final = """SELECT if(Told = '', TraceId, Told) AS Conversation,
arraySort(groupArrayArray(arrayMap(call -> (First, TraceId, call.1, call.2, call.3, call.4), Calls))) AS Calls,
arrayMap(run -> run.3, arraySort(groupArray((First, TraceId, Command)))) AS Commands
FROM (
    SELECT TraceId, min(Start) AS First, max(Conversation) AS Told,
    argMin(Called, (Kind NOT IN ({command}, {runs}), Start, -End, SpanId)) AS Command,
    groupArrayIf((Start, -End, SpanId, {call}), Kind IN ({kinds})) AS Calls
    FROM ({fields}) GROUP BY TraceId HAVING First >= {{begin:Int64}} AND First < {{end:Int64}}
    AND cityHash64(if(Told = '', TraceId, Told)) % {{parts:UInt64}} = {{part:UInt64}}
    AND TraceId NOT IN {{left:Array(String)}}
) GROUP BY Conversation"""

CALL_KINDS: Final = (TOOL, RETRIEVAL)
MODEL_KINDS: Final = (INFERENCE,)


def conversation_calls(store: TelemetryStore, call: str, kinds: Sequence[int]) -> str:
    """Return the SELECT of one row a conversation: Conversation, Calls, and the Commands of its runs, in order.

    `call` is the SQL of what is wanted of a span; it is the sixth element of each of `Calls`.
    """
    return _CONVERSATIONS.format(
        call=call,
        kinds=", ".join(map(str, kinds)),
        command=COMMAND,
        runs=RUNS,
        fields=span_fields(store),
    )


def ask_conversations(
    store: TelemetryStore, window: Window, sql: str, *, left: Sequence[str], spans: int
) -> Iterator[Sequence[Any]]:
    """Yield the rows of a question about conversations; `left` are traces to pass over, `spans` how many there are.

    Raises:
        StoreError: the store cannot be read.
    """
    said = around(window)
    bound: Mapping[str, Any] = {
        "look_back": said["from"],
        "last": said["until"],
        "begin": window.start_ns,
        "end": window.end_ns,
        "left": list(left),
    }
    parts = max(1, -(-spans // _AT_ONCE))
    for part in range(parts):
        yield from store.connection.rows(sql, {**bound, "parts": parts, "part": part})
