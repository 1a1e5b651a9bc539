"""How contexts grow and what is sent again: a store and a window in, sums and sketches by call number out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from otel_perfopt.measure.sketch import GAMMA
from otel_perfopt.measure.sql.conversation_calls import MODEL_KINDS, ask_conversations, conversation_calls
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import Window

FIRST, PEAK = 0, -1
MOST_CALLS: Final = 2000

# By number of the call in its conversation; 0 is the first of each, -1 the largest.
_COUNTS: Final = """SELECT Row.1 AS Call, toInt32(ceil(log(greatest(1, Row.2)) / log({gamma}))) AS Bucket, Row.2 = 0 AS Zero,
count(), sum(Row.2), sum(Row.3), sum(Row.4), sum(Row.5), sum(Row.6), max(Row.2) FROM (
    SELECT arrayConcat(
        [({first}, Sent[1], toInt64(0), toInt64(0), toInt64(0), toInt64(0)), ({peak}, arrayMax(Sent), 0, 0, 0, 0)],
        arrayMap((call, before, place) -> (least(place, {most} + 1), call.6.1, least(call.6.1, ifNull(call.6.2, before)),
            if(call.6.3 IS NULL AND call.6.4 IS NULL, 0, call.6.1), ifNull(call.6.3, 0), ifNull(call.6.4, 0)),
            Known, arrayPushFront(arrayPopBack(Sent), 0), arrayEnumerate(Known))
    ) AS Rows FROM (
        SELECT arrayFilter(call -> call.6.5, Calls) AS Known, arrayMap(call -> call.6.1, Known) AS Sent
        FROM ({conversations}) WHERE notEmpty(Known)
    )
) ARRAY JOIN Rows AS Row GROUP BY Call, Bucket, Zero"""
_CALL: Final = "(toInt64(ifNull(Input, 0)), Resent, Read, Written, Input IS NOT NULL)"


@dataclass(frozen=True, slots=True)
class ContextSum:
    """Model calls of one number (from 1; `FIRST` and `PEAK` are of a conversation) and alike in size, added up.

    `bucket` is that of `QuantileSketch`, None for empty input; `known` is the input of calls that state their cache.
    """

    call: int
    bucket: int | None
    count: int
    sent: int
    resent: int
    known: int
    read: int
    written: int
    largest: int


def context_use(
    store: TelemetryStore, window: Window, *, left: Sequence[str] = (), spans: int = 0
) -> Iterator[ContextSum]:
    """Yield what conversations sent, all but in the traces `left`; `spans` is about how many there are.

    Raises:
        StoreError: the store cannot be read.
    """
    calls = conversation_calls(store, _CALL, MODEL_KINDS)
    sql = _COUNTS.format(gamma=GAMMA, first=FIRST, peak=PEAK, most=MOST_CALLS, conversations=calls)
    for call, bucket, zero, *sums in ask_conversations(store, window, sql, left=left, spans=spans):
        yield ContextSum(call, None if zero else bucket, *sums)
