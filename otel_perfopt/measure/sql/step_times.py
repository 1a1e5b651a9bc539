"""Every step's place, own time and part of the critical path: a store and its slices in, one row a step out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from otel_perfopt.measure.sql.run_trees import SETTINGS, run_trees
from otel_perfopt.measure.sql.slices_of import rows_of
from otel_perfopt.measure.store.slices import Slice
from otel_perfopt.measure.store.telemetry_store import TelemetryStore

_STEPS: Final = """SELECT TraceId, Step.1, Step.2, Step.3, Step.4, Step.5 FROM (
    SELECT TraceId, arrayMap((key, parent, known, cover, wait, place) -> (
        key.3, if(parent = 0, '', Keys.3[parent]), place = Head, known.4 - known.3 - cover.2,
        if(wait.5, wait.4 + wait.2 - wait.1, 0)
    ), Keys, Parents, Down, Covered, Waits, arrayEnumerate(Keys)) AS Steps FROM ({trees}) WHERE Regular
) ARRAY JOIN Steps AS Step
{settings}"""


@dataclass(frozen=True, slots=True)
class StepTime:
    """A step by span id, its parent's, whether it is the run's command, its own ns and those on the critical path."""

    trace_id: str
    span_id: str
    parent_span_id: str
    command: bool
    own_ns: int
    critical_ns: int


def step_times(store: TelemetryStore, slices: Sequence[Slice]) -> Iterator[StepTime]:
    """Yield the steps of the plain runs of the slices, a trace's in order of start.

    Raises:
        StoreError: the store cannot be read.
    """
    for row in rows_of(store, slices, _STEPS.format(trees=run_trees(store), settings=SETTINGS)):
        yield StepTime(row[0], row[1], row[2], bool(row[3]), row[4], row[5])
