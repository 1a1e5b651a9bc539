"""Which spans are read together: a table and a window in, stretches of whole traces of bounded size out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from otel_perfopt.measure.store.connection import Connection
from otel_perfopt.measure.store.window import MAX_NS, Window

_MOST_BINS: Final = 50_000
_FINEST_NS: Final = 1_000_000
_CROWDED: Final = 2
# How far outside the window a trace's other spans are looked for.
LONGEST_TRACE_NS: Final = 86_400 * 10**9

_BOUNDS: Final = """SELECT toUnixTimestamp64Nano(min(Timestamp)), toUnixTimestamp64Nano(max(Timestamp)), count()
FROM {spans} WHERE Timestamp >= fromUnixTimestamp64Nano({{from:Int64}})
AND Timestamp < fromUnixTimestamp64Nano({{until:Int64}})"""
_BINS: Final = """SELECT intDiv(Start - {{origin:Int64}}, {{bin:Int64}}) AS Bin,
min(Start), max(Last), sum(Spans) FROM (
    SELECT TraceId, toUnixTimestamp64Nano(min(Timestamp)) AS Start,
    toUnixTimestamp64Nano(max(Timestamp)) AS Last, count() AS Spans
    FROM {spans} WHERE Timestamp >= fromUnixTimestamp64Nano({{from:Int64}})
    AND Timestamp < fromUnixTimestamp64Nano({{until:Int64}})
    GROUP BY TraceId HAVING Start >= {{begin:Int64}} AND Start < {{end:Int64}}
) GROUP BY Bin ORDER BY Bin"""


@dataclass(frozen=True, slots=True)
class Slice:
    """Traces whose first span is in [start_ns, end_ns), part `part` of `parts` by the hash of their id.

    No trace that runs into the slice began before `look_back_ns`, and no span of its traces begins
    after `last_ns`.
    """

    start_ns: int
    end_ns: int
    look_back_ns: int
    last_ns: int
    parts: int = 1
    part: int = 0


@dataclass(frozen=True, slots=True)
class _Bin:
    start_ns: int
    step_ns: int
    first_ns: int
    last_ns: int
    spans: int


def plan_slices(connection: Connection, spans: str, window: Window, most_spans: int) -> list[Slice]:
    """Cut a window into slices of about `most_spans` spans; a trace longer than a day counts from within it."""
    first, last, count = connection.rows(_BOUNDS.format(spans=spans), _reach(window))[0]
    if not count:
        return []
    asked = Window(max(window.start_ns, first), min(window.end_ns, last + 1))
    return list(_joined(_bins(connection, spans, asked, most_spans), most_spans))


def _reach(window: Window) -> dict[str, int]:
    return {
        "from": max(0, window.start_ns - LONGEST_TRACE_NS),
        "until": min(MAX_NS, window.end_ns + LONGEST_TRACE_NS),
    }


def _bins(connection: Connection, spans: str, window: Window, most_spans: int) -> list[_Bin]:
    """Count a window's traces by when they begin; where many begin together it is looked at more closely."""
    begin, end = window.start_ns, window.end_ns
    step = max(_FINEST_NS, -(-(end - begin) // _MOST_BINS))
    rows = connection.rows(
        _BINS.format(spans=spans), {**_reach(window), "origin": begin, "bin": step, "begin": begin, "end": end}
    )
    found: list[_Bin] = []
    for number, low, high, size in rows:
        start_ns = begin + int(number) * step
        # The last one ends with the window: what begins after it is another's.
        each = _Bin(start_ns, min(step, end - start_ns), int(low), int(high), int(size))
        if each.spans > _CROWDED * most_spans and step > _FINEST_NS:
            closer = Window(start_ns, start_ns + each.step_ns)
            found.extend(_bins(connection, spans, closer, most_spans))
        else:
            found.append(each)
    return found


def _joined(bins: Sequence[_Bin], most_spans: int) -> Iterator[Slice]:
    running: list[_Bin] = []
    group: list[_Bin] = []
    size = 0
    for each in bins:
        if group and size + each.spans > most_spans:
            yield from _slices(group, running, most_spans)
            running = [member for member in (*running, *group) if member.last_ns >= each.start_ns]
            group, size = [], 0
        group.append(each)
        size += each.spans
    if group:
        yield from _slices(group, running, most_spans)


def _slices(group: Sequence[_Bin], running: Iterable[_Bin], most_spans: int) -> Iterator[Slice]:
    start_ns = group[0].start_ns
    look_back = min([start_ns, *(member.first_ns for member in running)])
    last_ns = max(member.last_ns for member in group)
    parts = -(-sum(member.spans for member in group) // most_spans)
    # A group of several bins is never over the limit: only one crowded moment is cut further.
    for part in range(parts):
        yield Slice(start_ns, group[-1].start_ns + group[-1].step_ns, look_back, last_ns, parts, part)
