"""How many conversations there were: a store and a window in, a number out."""

from __future__ import annotations

from typing import Final

from otel_perfopt.measure.store.slices import LONGEST_TRACE_NS
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import MAX_NS, Window

_COUNT: Final = """SELECT uniqExact(if(Told = '', TraceId, Told)) FROM (
    SELECT TraceId, max({conversation}) AS Told, toUnixTimestamp64Nano(min(Timestamp)) AS First FROM {spans}
    WHERE Timestamp >= fromUnixTimestamp64Nano({{from:Int64}}) AND Timestamp < fromUnixTimestamp64Nano({{until:Int64}})
    GROUP BY TraceId HAVING First >= {{begin:Int64}} AND First < {{end:Int64}}
)"""


def conversation_count(store: TelemetryStore, window: Window) -> int:
    """Return the number of distinct conversations; a trace that names none is one of its own.

    Raises:
        StoreError: the store cannot be read.
    """
    sql = _COUNT.format(conversation=store.hot("ConversationId"), spans=store.spans)
    return int(store.connection.rows(sql, around(window))[0][0])


def around(window: Window) -> dict[str, int]:
    """Return the values that a question about a whole window binds, with room for traces that run into it."""
    return {
        "from": max(0, window.start_ns - LONGEST_TRACE_NS),
        "until": min(MAX_NS, window.end_ns + LONGEST_TRACE_NS),
        "begin": window.start_ns,
        "end": window.end_ns,
    }
