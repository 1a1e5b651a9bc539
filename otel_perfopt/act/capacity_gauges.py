"""How much capacity calls of models would need: the lines they wait in, in; gauges that an autoscaler reads out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from otel_perfopt import conventions as c
from otel_perfopt.signal.emit.faults import fault

WINDOW_NS = 60 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class LineReading:
    """One model's line now: how many calls may be under way, how many wait, and the most of both in the last minute."""

    model: str
    limit: int
    waiting: int
    wanted: int


class PeakDemand:
    """The most calls that were under way or waiting at once, in the last one to two minutes."""

    __slots__ = ("_before", "_now", "_window")

    def __init__(self) -> None:
        self._window = self._now = self._before = 0

    def saw(self, demand: int, now_ns: int) -> None:
        """There were so many just now."""
        self._turn(now_ns)
        self._now = max(self._now, demand)

    def value(self, demand: int, now_ns: int) -> int:
        """Return the peak, where there are `demand` now."""
        self._turn(now_ns)
        return max(self._before, self._now, demand)

    def _turn(self, now_ns: int) -> None:
        window = now_ns // WINDOW_NS
        if window != self._window:
            self._before = self._now if window == self._window + 1 else 0
            self._now, self._window = 0, window


class CapacityGauges:
    """Three gauges a model, on the host's meter provider, from the first line on.

    `perfopt.capacity.desired` is the peak of calls under way and waiting: so many at once the provider would
    have to bear for nobody to wait. Beside it stand the present limit and how many wait. Values of all
    policies of a model are added up, and so can be those of all processes.
    """

    def __init__(self, provider: Any = None) -> None:
        self._provider = provider
        self._lines: Callable[[], Iterable[LineReading]] | None = None
        self._registered = False
        self._lock = threading.Lock()

    def follow(self, lines: Callable[[], Iterable[LineReading]]) -> None:
        """Read `lines` at each collection; gauges are made the first time. Never raises."""
        with self._lock:
            self._lines = lines
            made, self._registered = self._registered, True
        if made:
            return
        try:
            provider = self._provider or metrics.get_meter_provider()
            meter = provider.get_meter(c.INSTRUMENTATION_SCOPE)
            for (name, unit), field in (
                (c.METRIC_CAPACITY_DESIRED, "wanted"),
                (c.METRIC_CAPACITY_LIMIT, "limit"),
                (c.METRIC_CAPACITY_WAITING, "waiting"),
            ):
                meter.create_observable_gauge(name, [partial(self._observed, field)], unit)
        except Exception as error:
            fault("capacity gauges", error)

    def close(self) -> None:
        """Say nothing any more: an instrument cannot be taken back, so it gives no values."""
        with self._lock:
            self._lines = None

    def after_fork(self) -> None:
        """Make the lock anew: another thread of the parent may have held it."""
        self._lock = threading.Lock()

    def _observed(self, field: str, options: CallbackOptions) -> list[Observation]:  # noqa: ARG002 - the API's signature
        lines = self._lines
        if lines is None:
            return []
        try:
            sums: dict[str, int] = {}
            for line in lines():
                sums[line.model] = sums.get(line.model, 0) + int(getattr(line, field))
            return [Observation(value, {c.GEN_AI_REQUEST_MODEL: model}) for model, value in sums.items()]
        except Exception as error:
            fault("capacity gauges", error)
            return []
