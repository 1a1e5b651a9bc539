"""What was asked again: a store and a window in, repeated calls by tool and reads again by resource out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from otel_perfopt.measure.sql.conversation_calls import ask_conversations, conversation_calls
from otel_perfopt.measure.sql.span_fields import TOOL
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import Window

_TOTALS, _TOOLS, _RESOURCES = 0, 1, 2
_MOST_RESOURCES: Final = 5_000

# Whether two resources may be the same thing, or one part of the other (execution/effect_order.py).
_ROW: Final = "if(position({0}, '=') > 0 AND endsWith(splitByChar('=', {0})[1], '_id') AND position(splitByChar('=', {0})[1], '/') = 0, splitByChar('=', {0})[1], '')"
_PATH: Final = "concat('/', replaceRegexpAll({0}, '^/+|/+$', ''), '/')"
_ROWS_OF: Final = f"({_ROW.format('wrote.2')} != '' OR {_ROW.format('again.1.5')} != '')"
_MEET: Final = (
    "(wrote.2 = '' OR again.1.5 = '' OR wrote.2 = again.1.5 OR if("
    f"{_ROWS_OF}, {_ROW.format('wrote.2')} != {_ROW.format('again.1.5')}, "
    f"match(concat({_PATH.format('wrote.2')}, {_PATH.format('again.1.5')}), '/\\\\.\\\\.?/') "
    f"OR startsWith({_PATH.format('wrote.2')}, {_PATH.format('again.1.5')}) "
    f"OR startsWith({_PATH.format('again.1.5')}, {_PATH.format('wrote.2')}) "
    f"OR endsWith({_PATH.format('wrote.2')}, {_PATH.format('again.1.5')}) "
    f"OR endsWith({_PATH.format('again.1.5')}, {_PATH.format('wrote.2')})))"
)

# Reads sorted by what they ask, then by place in the conversation: the last good one before is the neighbour.
_COUNTS: Final = """SELECT Row.1 AS About, Row.2 AS Name, sum(Row.3), sum(Row.4), sum(Row.5), sum(Row.6), sum(Row.7) FROM (
    SELECT arrayConcat(
        [({totals}, '', toInt64(length(Calls)), toInt64(length(Reads)), 0, 0, 0)],
        arrayMap(read -> ({tools}, read.6, 1, 0, 0, 0, 0), Reads),
        arrayMap(again -> ({tools}, again.1.6, 0, 1,
            toInt64(NOT arrayExists(wrote -> wrote.1 > again.2.2 AND wrote.1 < again.1.2 AND {meet}, Writes) AS Safe),
            toInt64(again.1.7 != '' AND again.1.7 = again.2.7), if(Safe, again.1.8, 0)),
            arrayFilter(again -> again.1.4 != '' AND again.2.1 = again.1.1 AND again.2.3, arrayZip(ByCall,
                arraySlice(arrayPushFront(arrayFill(read -> read.3, ByCall), {none}), 1, length(ByCall))))),
        arrayMap(again -> ({resources}, again.1.5, 1, toInt64(again.2.1 = again.1.1 AND again.2.3), 0, 0, 0),
            arrayZip(ByPlace,
                arraySlice(arrayPushFront(arrayFill(read -> read.3, ByPlace), {none}), 1, length(ByPlace))))
    ) AS Rows FROM (
        SELECT Calls, arrayMap((call, place) -> (toUInt64(0), place, call.6.2, call.6.3, call.6.4, call.6.1, call.6.5, call.6.6,
            call.6.7), Calls, arrayEnumerate(Calls)) AS All,
        arrayFilter(call -> call.9, All) AS Reads,
        arrayMap(call -> (call.2, if(call.8 < 0, '', call.5)), arrayFilter(call -> NOT call.9, All)) AS Writes,
        arraySort(arrayMap(read -> (cityHash64(read.6, read.4), read.2, read.3, read.4, read.5, read.6, read.7, read.8),
            Reads)) AS ByCall,
        arraySort(arrayMap(read -> (cityHash64(read.5), read.2, read.3, read.4, read.5, read.6, read.7, read.8),
            arrayFilter(read -> read.5 != '', Reads))) AS ByPlace
        FROM ({conversations})
    )
) ARRAY JOIN Rows AS Row GROUP BY About, Name
ORDER BY About, if(About = {resources}, sum(Row.4), 0) DESC, Name LIMIT {most} BY About
SETTINGS short_circuit_function_evaluation = 'disable'"""
# Name, whether it succeeded, digests of arguments, resource, digest of the result, length (-1: effects unknown), reads.
_CALL: Final = (
    "(Name, Error = '', Arguments, Place, Result, if(SaidEffects IN ('read', 'write'), greatest(0, End - Start), -1), "
    "SaidEffects = 'read')"
)
_NONE: Final = "(toUInt64(0), toUInt32(0), toUInt8(0), '', '', '', '', toInt64(0))"


@dataclass(frozen=True, slots=True)
class RepeatedTool:
    """Read-only calls of one tool, repeats among them, safe ones among those, repeats with an equal result, safe ns."""

    tool: str
    calls: int
    repeats: int
    safe: int
    same_result: int
    safe_ns: int


@dataclass(frozen=True, slots=True)
class ReadResource:
    """Reads of one resource, and how many of them read it again in their conversation."""

    resource: str
    reads: int
    rereads: int


@dataclass(frozen=True, slots=True)
class CallCount:
    """All tool calls, and the read-only ones among them."""

    calls: int
    reads: int


def repeats(
    store: TelemetryStore, window: Window, *, left: Sequence[str] = (), spans: int = 0
) -> Iterator[CallCount | RepeatedTool | ReadResource]:
    """Yield what conversations asked again, all but in the traces `left`; `spans` is about how many there are.

    The same as `execution.repetition`, without its bounds. Of resources the most often read again come, at most 5,000;
    what is alike may come more than once, to be added up.

    Raises:
        StoreError: the store cannot be read.
    """
    calls = conversation_calls(store, _CALL, (TOOL,))
    sql = _COUNTS.format(
        totals=_TOTALS,
        tools=_TOOLS,
        resources=_RESOURCES,
        meet=_MEET,
        none=_NONE,
        most=_MOST_RESOURCES,
        conversations=calls,
    )
    for about, name, first, second, safe, same, safe_ns in ask_conversations(
        store, window, sql, left=left, spans=spans
    ):
        if about == _TOTALS:
            yield CallCount(first, second)
        elif about == _TOOLS:
            yield RepeatedTool(name, first, second, safe, same, safe_ns)
        else:
            yield ReadResource(name, first, second)
