"""One trace after another as a tree: a store in, the SQL of runs with every step's own and critical time out."""

from __future__ import annotations

from typing import Final

from otel_perfopt import conventions as c
from otel_perfopt.measure.sql.span_fields import COMMAND, INFERENCE, OTHER, RETRIEVAL, RUNS, THINKING, TOOL, span_fields
from otel_perfopt.measure.store.hot_columns import quoted
from otel_perfopt.measure.store.telemetry_store import TelemetryStore

# The engine's work on a trace grows with the square of its spans; longer ones are left to code that walks trees.
MOST_SPANS: Final = 200
# Evaluated lazily, by mask, what several branches share is computed again in each.
SETTINGS: Final = "SETTINGS short_circuit_function_evaluation = 'disable', compile_expressions = 0"

# By start, so that parents come first: what the folds read (Keys), and what is said of each step (Said).
_GATHERED: Final = """SELECT TraceId, count() AS Size, min(Start) AS First, max(End) AS Last, if(Size <= {most},
arraySort(groupArray((
    Start, -End, SpanId, Id, Up, Kind, cityHash64(Name), Asker, cityHash64(Scope), SaidOperation = {agent},
    ifNull(Input, Output) IS NOT NULL, Untimed, Scope = {ours}, Cost IS NOT NULL
))), []) AS Keys, if(Size <= {most}, arraySort(groupArray((
    Start, -End, SpanId, if(Kind = {inference}, toString(SaidModel), Name), Error, Waits, Estimated,
    Input, Output, Read, Written, Reasoning, Resent, Answer, Cost, Called, SaidOutcome, Service, SaidEffects,
    Arguments, Result, Place
))), []) AS Said, max(Conversation) AS Told
FROM ({fields}) WHERE cityHash64(TraceId) % {{parts:UInt64}} = {{part:UInt64}}
GROUP BY TraceId HAVING First >= {{start:Int64}} AND First < {{end:Int64}}"""

# From the top down, by step: whether a command is at or above it (1), whether it is the topmost (2), its time cut
# to its parent's (3, 4), its depth (5), kind and name of what encloses its children (6, 7), its kind (8), whether it
# may repeat what encloses it (9), whether it is inside a model call (10), whether in the topmost command (11).
_KNOWN: Final = "Tuple(UInt8, UInt8, Int64, Int64, Int32, UInt8, UInt64, UInt8, UInt8, UInt8, UInt8)"
_DOWN: Final = """arrayFold((known, step) -> arrayPushBack(known, CAST((
    known[step.2].1 OR step.1 IN ({command}, {runs}),
    step.1 IN ({command}, {runs}) AND NOT known[step.2].1 AS Topmost,
    if(Topmost OR step.2 = 0, step.3, least(greatest(step.3, known[step.2].3), known[step.2].4)) AS Begun,
    if(Topmost OR step.2 = 0, greatest(step.3, -step.4), least(greatest(-step.4, Begun), known[step.2].4)),
    known[step.2].5 + 1,
    multiIf(Topmost, {command}, step.1 NOT IN ({other}, {runs}), step.1, step.6, 0, known[step.2].6),
    multiIf(Topmost OR step.1 NOT IN ({other}, {runs}), step.5, step.6, 0, known[step.2].7),
    multiIf(step.1 != {runs}, step.1, known[step.2].1, {other}, {command}),
    known[step.2].6 = step.1 AND (step.1 = {inference}
        OR step.1 IN ({tool}, {retrieval}) AND known[step.2].7 = step.5),
    known[step.2].10 OR (step.2 != 0 AND known[step.2].8 = {inference}),
    Topmost OR known[step.2].11
), '{known}')), arrayZip(Keys.6, Parents, Keys.1, Keys.2, Keys.7, Keys.10), CAST([], 'Array({known})'))"""

# By start, each step added to its parent: how far a parent's children reach (1), and how much they cover (2).
_COVER: Final = "Tuple(Int64, Int64)"
_COVERED: Final = """arrayFold((covers, step) -> arrayMap((cover, place) -> if(place != step.3, cover, CAST((
    greatest(cover.1, step.2), cover.2 + greatest(0, step.2 - greatest(step.1, cover.1))), '{cover}')),
covers, arrayEnumerate(covers)), arraySort(arrayZip(Down.3, Down.4, Parents)),
arrayMap(known -> CAST((known.3, 0), '{cover}'), Down))"""

# By end backwards: since when (1) and until when (2) the command's end waited on a step, who asked for the step
# that began last (3), what of the wait was the step's own (4), whether it was waited on at all (5).
_WAIT: Final = "Tuple(Int64, Int64, UInt64, Int64, UInt8)"
_PATH: Final = """arrayFold((waits, step) -> if(
    waits[step.6].5 AND (step.1 <= waits[step.6].2 OR (step.7 = waits[step.6].3 AND -step.2 < waits[step.6].2))
        AND greatest(-step.2, waits[step.6].1) < least(step.1, waits[step.6].2),
    arrayMap((wait, place) -> multiIf(
        place = step.6,
        CAST((wait.1, greatest(-step.2, wait.1), step.8, wait.4 + wait.2 - least(step.1, wait.2), 1), '{wait}'),
        place = step.5,
        CAST((greatest(-step.2, waits[step.6].1), least(step.1, waits[step.6].2), 0, 0, 1), '{wait}'),
        wait), waits, arrayEnumerate(waits)),
    waits),
arrayReverseSort(arrayZip(Down.4, arrayMap(begun -> -begun, Down.3), arrayMap(depth -> -depth, Down.5), Keys.3,
    arrayEnumerate(Keys), Parents, Keys.4, Keys.8)),
arrayMap((known, place) -> if(place = Head, CAST((known.3, known.4, 0, 0, 1), '{wait}'),
    CAST((0, 0, 0, 0, 0), '{wait}')), Down, arrayEnumerate(Down)))"""

# What the engine tells as the code would: one run, each call told once, each token stated once, with a clock.
_REGULAR: Final = """Size <= {most} AND countEqual(Parents, 0) = 1
AND arrayAll((parent, place) -> parent < place, Parents, arrayEnumerate(Parents))
AND arrayCount(known -> known.2, Down) <= 1
AND NOT arrayExists(known -> known.9 OR (known.10 AND known.8 = {inference}), Down)
AND (arrayCount(known -> known.2, Down) = 0 OR NOT arrayExists(known -> NOT known.11 AND known.8 != {other}, Down))
AND length(arrayDistinct(arrayFilter((scope, known) -> known.8 = {inference}, Keys.9, Down))) <= 1
AND length(arrayDistinct(arrayFilter((scope, known) -> known.8 = {tool}, Keys.9, Down))) <= 1
AND length(arrayDistinct(arrayFilter((scope, known) -> known.8 = {retrieval}, Keys.9, Down))) <= 1
AND NOT arrayExists((stated, known, place) -> stated AND place != Head
    AND known.8 NOT IN ({inference}, {tool}, {retrieval}) AND NOT (known.8 = {thinking} AND known.10),
    Keys.11, Down, arrayEnumerate(Down))
AND (NOT Keys[Head].11 OR Down[Head].8 = {inference} OR arrayExists((stated, known) -> stated AND known.8 = {inference},
    Keys.11, Down))
AND NOT arrayExists((stated, known, place) -> stated AND known.8 != {inference} AND place != Head,
    Keys.14, Down, arrayEnumerate(Down))
AND NOT arrayExists(untimed -> untimed, Keys.12)
AND NOT (Keys[1].5 != 0 AND Keys[1].13 AND Down[1].8 != {command})"""

_TREES: Final = """SELECT TraceId, Size, First, Last, Told, Keys, Said,
arrayMap(up -> if(up = 0, 0, indexOf(Keys.4, up)), Keys.5) AS Parents,
{down} AS Down,
greatest(1, arrayFirstIndex(known -> known.2, Down)) AS Head,
{regular} AS Regular,
{covered} AS Covered,
{path} AS Waits
FROM ({gathered})"""


def run_trees(store: TelemetryStore) -> str:
    """Return the SELECT of one row a trace that begins in the bound slice (`start`, `end`, `part` of `parts`).

    Arrays by step, in order of start: `Keys`, `Said`, `Parents` (places from 1; 0 for none), `Down` (what is known
    from above), `Covered` and `Waits` (on the critical path). `Head` is the place of the run's command. Of a row that
    is not `Regular` nothing else may be believed.
    """
    words = {
        "most": MOST_SPANS,
        "agent": quoted(c.OPERATION_INVOKE_AGENT),
        "ours": quoted(c.INSTRUMENTATION_SCOPE),
        "command": COMMAND,
        "runs": RUNS,
        "thinking": THINKING,
        "inference": INFERENCE,
        "tool": TOOL,
        "retrieval": RETRIEVAL,
        "other": OTHER,
        "known": _KNOWN,
        "cover": _COVER,
        "wait": _WAIT,
        "fields": span_fields(store),
    }
    parts = {"down": _DOWN, "regular": _REGULAR, "covered": _COVERED, "path": _PATH, "gathered": _GATHERED}
    return _TREES.format(**{name: text.format(**words) for name, text in parts.items()})
