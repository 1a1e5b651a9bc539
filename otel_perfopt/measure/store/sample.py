"""Fewer traces that still show every command: how many runs in, which traces to read out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_perfopt.measure.store.connection import Connection
from otel_perfopt.measure.store.slices import LONGEST_TRACE_NS
from otel_perfopt.measure.store.variant import TableVariant
from otel_perfopt.measure.store.window import MAX_NS, Window

_MOST_STRATA: Final = 1_000
_LEAST_OF_EACH: Final = 30
_RANGE: Final = 1 << 32

_STRATA: Final = """SELECT Stratum, count() FROM (
    SELECT TraceId, {stratum} AS Stratum, toUnixTimestamp64Nano(min(Timestamp)) AS Start FROM {spans}
    WHERE Timestamp >= fromUnixTimestamp64Nano({{from:Int64}}) AND Timestamp < fromUnixTimestamp64Nano({{until:Int64}})
    GROUP BY TraceId HAVING Start >= {{begin:Int64}} AND Start < {{end:Int64}}
) GROUP BY Stratum ORDER BY count() DESC"""


@dataclass(frozen=True, slots=True)
class Sample:
    """About `traces` traces, chosen by the hash of their conversation and `seed`: whole ones, the same each time."""

    traces: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Drawn:
    """The part of each stratum that is read: SQL for HAVING, its bound values, and a sentence that says so."""

    having: str
    parameters: Mapping[str, Any]
    said: str
    share: float = 1.0


def stratum_of(variant: TableVariant) -> str:
    """Return the SQL of a trace's stratum: the command, or the span, that it begins with."""
    name = f"if({variant.hot('Command')} != '', {variant.hot('Command')}, toString(SpanName))"
    return f"argMin({name}, (Timestamp, SpanId))"


def draw(connection: Connection, spans: str, variant: TableVariant, window: Window, sample: Sample) -> Drawn | None:
    """Decide how many traces of each stratum are read; None where there are not more than asked for.

    Every stratum keeps at least 30 traces or all it has; beyond that each gives the same share.
    """
    rows = connection.rows(
        _STRATA.format(stratum=stratum_of(variant), spans=spans),
        {
            "from": max(0, window.start_ns - LONGEST_TRACE_NS),
            "until": min(MAX_NS, window.end_ns + LONGEST_TRACE_NS),
            "begin": window.start_ns,
            "end": window.end_ns,
        },
    )
    sizes = {str(name): int(count) for name, count in rows}
    total = sum(sizes.values())
    if total <= sample.traces:
        return None
    shares = _shares(sizes, sample.traces)
    named = dict(list(shares.items())[:_MOST_STRATA])
    rest = min(1.0, sample.traces / total)
    expected = sum(sizes[name] * shares.get(name, rest) for name in sizes)
    said = (
        f"Read from a sample: about {expected:,.0f} of {total:,} traces, by command "
        f"({len(sizes)} of them; each at least {_LEAST_OF_EACH} traces or all it has)."
    )
    having = (
        "AND bitAnd(cityHash64(if(max(toString(" + variant.hot("ConversationId") + ")) = '', TraceId, "
        "max(toString(" + variant.hot("ConversationId") + "))), {sample_seed:Int64}), 4294967295) < transform("
        f"{stratum_of(variant)}, {{sample_names:Array(String)}}, {{sample_limits:Array(UInt64)}}, "
        "{sample_rest:UInt64})"
    )
    parameters = {
        "sample_seed": sample.seed,
        "sample_names": list(named),
        "sample_limits": [round(share * _RANGE) for share in named.values()],
        "sample_rest": round(rest * _RANGE),
    }
    return Drawn(having, parameters, said, expected / total)


def _shares(sizes: Mapping[str, int], wanted: int) -> dict[str, float]:
    """Return the part of each stratum to read: one share for all, raised where it would leave too few."""
    share = wanted / sum(sizes.values())
    for _ in range(8):
        small = {name for name, size in sizes.items() if size * share < min(size, _LEAST_OF_EACH)}
        taken = sum(min(sizes[name], _LEAST_OF_EACH) for name in small)
        left = sum(size for name, size in sizes.items() if name not in small)
        again = max(0.0, wanted - taken) / left if left else share
        if again == share:
            break
        share = again
    return {name: min(1.0, max(share, _LEAST_OF_EACH / size)) for name, size in sizes.items()}
