"""How much runs of each command differ: a store and a window in, counts, means and variances out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_perfopt.measure.sql.conversations import around
from otel_perfopt.measure.store.sample import stratum_of
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import Window

_SPREAD: Final = """SELECT Stratum, count(), avg(Took), varPop(Took), sum(Spans) FROM (
    SELECT TraceId, {stratum} AS Stratum, toUnixTimestamp64Nano(min(Timestamp)) AS First, count() AS Spans,
    (toUnixTimestamp64Nano(max(Timestamp)) + toInt64(argMax(Duration, Timestamp)) - First) / 1e9 AS Took FROM {spans}
    WHERE Timestamp >= fromUnixTimestamp64Nano({{from:Int64}}) AND Timestamp < fromUnixTimestamp64Nano({{until:Int64}})
    GROUP BY TraceId HAVING First >= {{begin:Int64}} AND First < {{end:Int64}}
) GROUP BY Stratum ORDER BY count() DESC"""


@dataclass(frozen=True, slots=True)
class RunSpread:
    """The traces of one command: how many, seconds on average, their variance, and spans in all."""

    command: str
    traces: int
    mean_s: float
    variance: float
    spans: int


def run_spread(store: TelemetryStore, window: Window) -> list[RunSpread]:
    """Return one row a command, or a span that begins traces.

    Raises:
        StoreError: the store cannot be read.
    """
    sql = _SPREAD.format(stratum=stratum_of(store.variant), spans=store.spans)
    return [RunSpread(str(row[0]), *row[1:]) for row in store.connection.rows(sql, around(window))]
