"""A question asked of one stretch of whole traces after another: a store, a window and SQL in, all rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from otel_perfopt.measure.store.slices import Slice, plan_slices
from otel_perfopt.measure.store.telemetry_store import TelemetryStore
from otel_perfopt.measure.store.window import Window

# As much as the engine holds at once in well under a gigabyte.
SLICE_SPANS: Final = 100_000
NOTHING: Final[Mapping[str, Any]] = {}


def bounds(each: Slice) -> dict[str, int]:
    """Return the values that a question about one stretch binds."""
    return {
        "start": each.start_ns,
        "end": each.end_ns,
        "look_back": each.look_back_ns,
        "last": each.last_ns,
        "parts": each.parts,
        "part": each.part,
    }


def slices_of(store: TelemetryStore, window: Window, most_spans: int = SLICE_SPANS) -> list[Slice]:
    """Return the stretches of a window that are asked one by one, so that memory does not follow the store's size."""
    return plan_slices(store.connection, store.spans, window, most_spans)


def rows_of(
    store: TelemetryStore,
    slices: Sequence[Slice],
    sql: str,
    parameters: Mapping[str, Any] = NOTHING,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Sequence[Any]]:
    """Yield the rows of each stretch in turn; `on_progress` gets those asked and all of them.

    Raises:
        StoreError: the store cannot be read.
    """
    for number, each in enumerate(slices):
        yield from store.connection.rows(sql, {**parameters, **bounds(each)})
        if on_progress is not None:
            on_progress(number + 1, len(slices))
