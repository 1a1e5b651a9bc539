"""The host's meter provider and a live meter in; whatever its readers collect then holds our metrics as well."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from opentelemetry.sdk.metrics import Histogram
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_perfopt import __version__
from otel_perfopt import conventions as c
from otel_perfopt.measure.meter import LiveMeter
from otel_perfopt.measure.meter_series import MeterState
from otel_perfopt.signal.emit.faults import fault

SCOPE: Final = InstrumentationScope(c.INSTRUMENTATION_SCOPE, __version__)
_MAX_READERS: Final = 16


class MetricProducer:
    """Ready-made metrics on a provider of the SDK, as the specification's MetricProducer, which Python's SDK lacks.

    Its instruments cost 40 to 60 times as much for a value, and take no histogram that is already
    added up; so what a reader's collection returns is extended instead. Each reader is given the
    temporality that it asks for. A provider that is built otherwise is left as it is (`attach` gives
    False).
    """

    def __init__(self, meter: LiveMeter) -> None:
        self._meter = meter
        self._given: weakref.WeakKeyDictionary[Any, MeterState] = weakref.WeakKeyDictionary()
        self._undo: list[Callable[[], None]] = []

    def attach(self, provider: Any) -> bool:
        """Extend what the provider's readers collect, those of today and those added later."""
        consumer = getattr(provider, "_measurement_consumer", None)
        original = getattr(consumer, "collect", None)
        readers = getattr(consumer, "_reader_storages", None)
        if consumer is None or original is None or readers is None:
            return False

        def collect(reader: Any, timeout_millis: float = 10_000) -> MetricsData | None:
            found: MetricsData | None = original(reader, timeout_millis=timeout_millis)
            return self._extended(found, reader, provider)

        consumer.collect = collect
        for reader in list(readers)[:_MAX_READERS]:
            reader._set_collect_callback(collect)  # noqa: SLF001 - there is no public way; `attach` is tested against it

        def undo() -> None:
            if consumer.__dict__.get("collect") is collect:
                del consumer.collect
            for reader in list(getattr(consumer, "_reader_storages", ())):
                if getattr(reader, "_collect", None) is collect:
                    reader._set_collect_callback(original)  # noqa: SLF001 - as above

        self._undo.append(undo)
        return True

    def detach(self) -> None:
        """Leave every provider as it was."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def after_fork(self) -> None:
        """Begin anew: differences are those of this process."""
        self._given = weakref.WeakKeyDictionary()

    def _extended(self, found: MetricsData | None, reader: Any, provider: Any) -> MetricsData | None:
        try:
            metrics = self._meter.metrics(self._state(reader))
            return with_metrics(found, metrics, _resource(provider)) if metrics else found
        except Exception as error:
            fault("metrics", error)
            return found

    def _state(self, reader: Any) -> MeterState | None:
        """Return what the reader was given so far where it wants differences, else None."""
        wanted = getattr(reader, "_instrument_class_temporality", {})
        differences = any(
            temporality is AggregationTemporality.DELTA and issubclass(kind, Histogram)
            for kind, temporality in wanted.items()
        )
        if not differences:
            return None
        state = self._given.get(reader)
        if state is None:
            state = self._given[reader] = MeterState(self._meter.start_ns)
        return state


def with_metrics(found: MetricsData | None, metrics: list[Any], resource: Resource) -> MetricsData:
    """Return the data with our scope's metrics added to its first resource, or to `resource` where it has none."""
    ours = ScopeMetrics(SCOPE, metrics, "")
    if found is None or not found.resource_metrics:
        return MetricsData([ResourceMetrics(resource, [ours], "")])
    first, *others = found.resource_metrics
    return MetricsData([replace(first, scope_metrics=[*first.scope_metrics, ours]), *others])


def _resource(provider: Any) -> Resource:
    resource = getattr(getattr(provider, "_sdk_config", None), "resource", None)
    return resource if isinstance(resource, Resource) else Resource.create({})
