"""What a crash left behind: a store in, the same with every span once out."""

from __future__ import annotations

from typing import Any, Final

from otel_perfopt.measure.store.connection import Connection
from otel_perfopt.measure.store.schema import identifier
from otel_perfopt.measure.store.writers import abandoned, forget

_AT_ONCE: Final = 5_000
# Of a span's states all but the longest; of equal ones the engine keeps one when it folds.
_SHORTER: Final = """SELECT TraceId, SpanId, toUnixTimestamp64Nano(Timestamp) AS Time, Duration FROM {table}
WHERE (TraceId, SpanId) IN (SELECT TraceId, SpanId FROM {table} GROUP BY TraceId, SpanId HAVING count() > 1)"""
_DELETE: Final = """DELETE FROM {table} WHERE (TraceId, SpanId, toUnixTimestamp64Nano(Timestamp), Duration)
IN {{rows:Array(Tuple(String, String, Int64, UInt64))}}"""


def settle(connection: Connection) -> int:
    """Make every span stand once where a writer crashed; return how many spans stood twice."""
    crashed = abandoned(connection)
    if not crashed:
        return 0
    count = fold(connection)
    forget(connection, crashed)
    return count


def fold(connection: Connection) -> int:
    """Remove all states of a span but the longest; return how many spans had more than one."""
    table = identifier(connection.address.table)
    rows = connection.rows(_SHORTER.format(table=table))
    if not rows:
        return 0
    longest: dict[tuple[str, str], tuple[Any, ...]] = {}
    for row in rows:
        kept = longest.get((row[0], row[1]))
        if kept is None or row[3] > kept[3]:
            longest[row[0], row[1]] = row
    keep = set(longest.values())
    shorter = [row for row in rows if row not in keep]
    for place in range(0, len(shorter), _AT_ONCE):
        connection.run(_DELETE.format(table=table), {"rows": shorter[place : place + _AT_ONCE]})
    connection.run(f"OPTIMIZE TABLE {table} FINAL")
    return len(longest)
