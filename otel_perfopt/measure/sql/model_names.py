"""Which models were asked: a store and a window in, their names out."""

from __future__ import annotations

from typing import Final

from otel_perfopt.measure.sql.conversations import around
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import Window

_NAMES: Final = """SELECT DISTINCT toString({model}) AS Name FROM {spans}
WHERE Timestamp >= fromUnixTimestamp64Nano({{from:Int64}}) AND Timestamp < fromUnixTimestamp64Nano({{until:Int64}})
AND Name != '' ORDER BY Name LIMIT {most}"""
_MOST: Final = 1_000


def model_names(store: TelemetryStore, window: Window) -> list[str]:
    """Return the models of a window, at most a thousand.

    Raises:
        StoreError: the store cannot be read.
    """
    sql = _NAMES.format(model=store.hot("Model"), spans=store.spans, most=_MOST)
    wanted = {name: value for name, value in around(window).items() if name in {"from", "until"}}
    return [str(row[0]) for row in store.connection.rows(sql, wanted)]
