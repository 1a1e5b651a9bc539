"""What follows what: a store and a window in, how often tools and commands came one after another out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from otel_perfopt.measure.sql.conversation_calls import CALL_KINDS, ask_conversations, conversation_calls
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import Window

_PAIRS, _TRIPLES, _COMMANDS = 2, 3, 1
# Within a run for tools, within a conversation for commands.
_COUNTS: Final = """SELECT Row.1, Row.2, count() FROM (
    SELECT arrayConcat(
        arrayFlatten(arrayMap(run -> arrayMap(place -> ({pairs}, arraySlice(run, place, 2)),
            range(1, greatest(1, toUInt64(length(run))))), Runs)),
        arrayFlatten(arrayMap(run -> arrayMap(place -> ({triples}, arraySlice(run, place, 3)),
            range(1, greatest(2, toUInt64(length(run))) - 1)), Runs)),
        arrayMap(place -> ({commands}, arraySlice(Commands, place, 2)), range(1, toUInt64(length(Commands))))
    ) AS Rows FROM (
        SELECT Commands, arrayMap(run -> arrayMap(call -> call.6, run),
            arraySplit((call, place) -> place > 1 AND Calls[place - 1].2 != call.2, Calls, arrayEnumerate(Calls))) AS Runs
        FROM ({conversations})
    )
) ARRAY JOIN Rows AS Row GROUP BY Row.1, Row.2 ORDER BY count() DESC LIMIT {most} BY Row.1"""
_MOST: Final = 50_000


@dataclass(slots=True)
class Transitions:
    """Counts of contiguous pairs and triples of tools within a run, and pairs of commands within a conversation."""

    tool_pairs: Counter[tuple[str, ...]] = field(default_factory=Counter)
    tool_triples: Counter[tuple[str, ...]] = field(default_factory=Counter)
    command_pairs: Counter[tuple[str, ...]] = field(default_factory=Counter)


def transitions(store: TelemetryStore, window: Window, *, left: Sequence[str] = (), spans: int = 0) -> Transitions:
    """Count what follows what, all but in the traces `left`; `spans` is about how many there are.

    Raises:
        StoreError: the store cannot be read.
    """
    found = Transitions()
    counters = {_PAIRS: found.tool_pairs, _TRIPLES: found.tool_triples, _COMMANDS: found.command_pairs}
    calls = conversation_calls(store, "Name", CALL_KINDS)
    sql = _COUNTS.format(pairs=_PAIRS, triples=_TRIPLES, commands=_COMMANDS, most=_MOST, conversations=calls)
    for what, names, count in ask_conversations(store, window, sql, left=left, spans=spans):
        counters[what][tuple(map(str, names))] += count
    return found
