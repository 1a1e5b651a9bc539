"""How often and how long every command, model and tool ran: a store and its slices in, additive rows out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from otel_perfopt.execution.model import NO_TOKENS, Outcome, StepKind, TokenUsage
from otel_perfopt.measure.measurement import Measurement
from otel_perfopt.measure.series import HOUR_S, MOST_BINS_OF_A_RUN
from otel_perfopt.measure.sketch import GAMMA, SMALLEST, QuantileSketch
from otel_perfopt.measure.sql.run_trees import SETTINGS, run_trees
from otel_perfopt.measure.sql.slices_of import rows_of
from otel_perfopt.measure.sql.span_fields import INFERENCE, OTHER, RETRIEVAL, STEP_KINDS, THINKING, TOOL
from otel_perfopt.measure.store.slices import Slice
from otel_perfopt.measure.store.telemetry_store import TelemetryStore

HOUR_NS: Final = round(HOUR_S * 1e9)
# What a row is about: a step of a kind; the run itself; time of a run in an hour it did not begin in; a trace
# that the engine cannot tell as the code would.
_RUN, _UNDER_WAY, _LEFT = 0, 9, 10
# The bucket of what takes no time.
_ZERO: Final = -(1 << 31)

# One row a step, and rows for the run: about what, name, service, outcome or error, hour, and numbers to add up.
_ROWS: Final = """SELECT About, Name, Service, Outcome, Hour, Waiting, Unknown, count() AS Count,
sum(Failed), sum(Inferred), sum(Took / 1e9), sum(Took / 1e9 * Took / 1e9), sum(Own), sum(Critical),
sum(Input), sum(Output), sum(Read), sum(Written), sum(Reasoning), sum(Resent), sum(Cost),
sumMap([if(Took / 1e9 >= {smallest}, toInt32(ceil(log(greatest(Took, 1) / 1e9) / log({gamma}))), {zero})], [1]),
min(Begun), max(Ended), if(About = {left}, groupArray(TraceId), [])
FROM (
    SELECT TraceId, Row.1 AS About, Row.2 AS Name, Row.3 AS Service, Row.4 AS Outcome, Row.5 AS Hour,
    Row.6 AS Waiting, Row.7 AS Unknown, Row.8 AS Failed, Row.9 AS Inferred, Row.10 AS Took, Row.11 AS Own,
    Row.12 AS Critical, Row.13 AS Input, Row.14 AS Output, Row.15 AS Read, Row.16 AS Written, Row.17 AS Reasoning,
    Row.18 AS Resent, Row.19 AS Cost, Row.20 AS Begun, Row.21 AS Ended
    FROM (
        SELECT TraceId, if(Regular, arrayConcat(Steps, [Run], Later), [Left]) AS Rows, arrayMap(key -> greatest(key.1, -key.2), Keys) AS Ends,
        Down[Head].8 IN ({work}) AS Bare,
        arrayMap((wait) -> if(wait.5, wait.4 + wait.2 - wait.1, 0), Waits) AS Criticals,
        arrayMap((known, cover) -> known.4 - known.3 - cover.2, Down, Covered) AS Owns,
        Said[Head].15 IS NOT NULL AND NOT Bare AS Paid,
        arrayMap((said, known) -> if(said.15 IS NOT NULL OR Paid OR known.8 != {inference}, said.15, {listed}),
            Said, Down) AS Costs,
        arrayFilter((key, known) -> known.8 = {inference} OR known.8 = {thinking} AND NOT known.10, Said, Down) AS Priced,
        arrayFilter((row, place) -> Bare OR place != Head, arrayMap((key, said, known, end, own, critical, cost) -> CAST((
            known.8, said.4, '', if(known.8 IN ({work}), said.5, ''), 0, said.6,
            known.8 IN ({calls}) AND said.19 NOT IN ('read', 'write') AND (known.8 = {tool} OR said.19 = 'unknown'),
            said.5 != '', said.7, end - key.1, own, critical,
            if(known.8 = {inference}, said.8, NULL), if(known.8 = {inference}, said.9, said.14),
            if(known.8 = {inference}, said.10, NULL), if(known.8 = {inference}, said.11, NULL),
            if(known.8 = {inference}, said.12, NULL), if(known.8 = {inference}, said.13, NULL), cost, 0, 0
        ), '{row}'), Keys, Said, Down, Ends, Owns, Criticals, Costs), arrayEnumerate(Keys)) AS Steps,
        if(Said[Head].17 IN ({outcomes}), Said[Head].17, if(Said[Head].5 != '', 'failed', 'completed')) AS Ended_,
        CAST((
            {run}, Said[Head].16, Said[Head].18, Ended_, intDiv(Keys[Head].1, {hour}), Said[Head].6, 0,
            Ended_ = 'failed', Said[Head].7, Ends[Head] - Keys[Head].1, if(Bare, 0, Owns[Head]),
            if(Bare, 0, Criticals[Head]),
            {sums},
            if(Paid, Said[Head].15, arrayReduce('sumOrNull', Costs)),
            Keys[Head].1, Ends[Head]
        ), '{row}') AS Run,
        arrayMap(hour -> CAST(({under_way}, Said[Head].16, Said[Head].18, '', hour, 0, 0, 0, 0,
            least(Ends[Head], (hour + 1) * {hour}) - greatest(Keys[Head].1, hour * {hour}), 0, 0,
            NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0), '{row}'),
            range(toUInt64(intDiv(Keys[Head].1, {hour})), toUInt64(least(intDiv(greatest(Keys[Head].1, Ends[Head] - 1), {hour}),
                intDiv(Keys[Head].1, {hour}) + {most_hours})) + 1)) AS Later,
        CAST(({left}, '', '', '', 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0), '{row}')
            AS Left
        FROM ({trees})
    ) ARRAY JOIN Rows AS Row
) GROUP BY About, Name, Service, Outcome, Hour, Waiting, Unknown
{settings}"""
_ROW: Final = (
    "Tuple(UInt8, String, String, String, Int64, UInt8, UInt8, UInt8, UInt8, Int64, Int64, Int64, "
    "Nullable(Int64), Nullable(Int64), Nullable(Int64), Nullable(Int64), Nullable(Int64), Nullable(Int64), "
    "Nullable(Float64), Int64, Int64)"
)
# What a call costs by list: its model's prices for prompts of its length (measure/price.py).
_PRICES: Final = "{prices:Array(Tuple(String, Float64, Float64, Float64, Float64, Float64))}"
_LISTED: Final = (
    f"arrayMap(price -> if(price.1 = '' OR said.8 IS NULL OR said.9 IS NULL AND price.4 != 0 OR isNaN(price.5) AND ifNull(said.10, 0) != 0, "
    "NULL, (greatest(0, said.8 - ifNull(said.10, 0) - ifNull(said.11, 0)) * price.3 + if(ifNull(said.10, 0) = 0, 0, "
    "said.10 * price.5) + ifNull(said.11, 0) * price.6 + ifNull(said.9, 0) * price.4) / 1e6), "
    f"[arrayFirst(price -> price.1 = said.4 AND ifNull(said.8, 0) <= price.2, {_PRICES})])[1]"
)
_SUMS: Final = ", ".join(f"arrayReduce('sumOrNull', arrayMap(said -> said.{place}, Priced))" for place in range(8, 14))


# A model as telemetry names it, the longest prompt, and USD per million tokens: input, output, cached, written.
ListPrice = tuple[str, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class UsageSum:
    """Steps, or runs (`kind` None), that are alike, added up.

    `outcome` is a run's outcome or a call's error type; `hour` (since 1970) and `service` are told of runs
    only. Times are in seconds, `own_ns` and `critical_ns` in ns. `buckets` are those of
    `QuantileSketch`.
    """

    kind: StepKind | None
    name: str
    service: str
    outcome: str
    hour: int
    waiting: bool
    unknown_effects: bool
    count: int
    failed: int
    estimated: int
    total_s: float
    total_squares: float
    own_ns: int
    critical_ns: int
    tokens: TokenUsage
    cost_usd: float | None
    buckets: Mapping[int, int]
    begun_ns: int
    ended_ns: int

    @property
    def seconds(self) -> Measurement:
        """The durations, as a measurement in seconds."""
        buckets = Counter(self.buckets)
        zeros = buckets.pop(_ZERO, 0)
        return Measurement(self.count, self.total_s, self.total_squares, QuantileSketch(buckets, zeros))


@dataclass(frozen=True, slots=True)
class UnderWay:
    """For how long runs of a command were under way in an hour (since 1970)."""

    command: str
    service: str
    hour: int
    busy_ns: int


@dataclass(frozen=True, slots=True)
class LeftTraces:
    """Traces that are left to the code: longer than the engine takes at once, of several runs, told in layers."""

    trace_ids: tuple[str, ...]


def step_usage(
    store: TelemetryStore,
    slices: Sequence[Slice],
    *,
    prices: Sequence[ListPrice] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[UsageSum | UnderWay | LeftTraces]:
    """Yield what the finished runs of the slices were made of; what is alike comes once a slice.

    Raises:
        StoreError: the store cannot be read.
    """
    sql = usage_sql(store)
    for row in rows_of(store, slices, sql, {"prices": list(prices)}, on_progress):
        about = row[0]
        if about == _LEFT:
            yield LeftTraces(tuple(row[24]))
        elif about == _UNDER_WAY:
            yield UnderWay(row[1], row[2], row[4], round(row[10] * 1e9))
        else:
            yield _usage_sum(row)


def usage_sql(store: TelemetryStore) -> str:
    """Return the query of one slice."""
    return _ROWS.format(
        trees=run_trees(store),
        row=_ROW,
        listed=_LISTED,
        sums=_SUMS,
        run=_RUN,
        under_way=_UNDER_WAY,
        left=_LEFT,
        hour=HOUR_NS,
        most_hours=MOST_BINS_OF_A_RUN,
        work=", ".join(str(code) for code in range(THINKING, OTHER)),
        calls=f"{TOOL}, {RETRIEVAL}",
        tool=TOOL,
        inference=INFERENCE,
        thinking=THINKING,
        outcomes=", ".join(f"'{outcome.value}'" for outcome in Outcome),
        smallest=SMALLEST,
        zero=_ZERO,
        gamma=GAMMA,
        settings=SETTINGS,
    )


def _usage_sum(row: Sequence[Any]) -> UsageSum:
    about, name, service, outcome, hour, waiting, unknown, count, failed, estimated = row[:10]
    buckets, counts = row[21]
    return UsageSum(
        kind=STEP_KINDS.get(about),
        name=name,
        service=service,
        outcome=outcome,
        hour=hour,
        waiting=bool(waiting),
        unknown_effects=bool(unknown),
        count=count,
        failed=failed,
        estimated=estimated,
        total_s=row[10],
        total_squares=row[11],
        own_ns=row[12],
        critical_ns=row[13],
        tokens=_tokens(row[14:20]),
        cost_usd=row[20],
        buckets=dict(zip(buckets, counts, strict=True)),
        begun_ns=row[22],
        ended_ns=row[23],
    )


def _tokens(said: Sequence[int | None]) -> TokenUsage:
    if all(count is None for count in said):
        return NO_TOKENS
    return TokenUsage(*said)
