"""Settings and a finisher in, live metrics on the process's meter provider and in files out; all of it can be undone."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import Any

from opentelemetry import metrics
from opentelemetry.sdk.resources import SERVICE_NAME, Resource

from otel_perfopt import conventions as c
from otel_perfopt.measure.meter import LiveMeter
from otel_perfopt.measure.meter_file import MeterFile
from otel_perfopt.measure.meter_provider import MetricProducer
from otel_perfopt.measure.price import PriceTable
from otel_perfopt.settings import AgentSettings
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.finisher import Finisher
from otel_perfopt.signal.emit.interception import Interception, intercept


class Metering:
    """What counts the spans that a finisher ends.

    `provider` is extended instead of the global meter provider. Files are written where telemetry is.
    `unkept` counts spans that ended and could not be kept, beside those that the finisher dropped.
    """

    def __init__(
        self,
        settings: AgentSettings,
        finisher: Finisher,
        resource: Resource,
        provider: Any = None,
        unkept: Callable[[], int] = lambda: 0,
    ) -> None:
        self._settings = settings
        self._finisher = finisher
        self._given = provider
        self.meter = LiveMeter(_prices(settings), settings.windows)
        self.meter.also_count(c.METRIC_OVERHEAD, lambda: finisher.spent_ns / 1e9)
        self.meter.also_count(c.METRIC_DROPPED, lambda: finisher.dropped + unkept())
        self.meter.also_count(c.METRIC_UNDESCRIBED, lambda: finisher.undescribed)
        self._producer = MetricProducer(self.meter)
        self._attached: Any = None
        self._setting: Interception | None = None
        self._file: MeterFile | None = None
        if settings.write_telemetry and settings.write_metrics:
            service = str(resource.attributes.get(SERVICE_NAME, ""))
            self._file = MeterFile(self.meter, settings.home, service, resource)

    def start(self) -> None:
        """Count from now on."""
        self.meter.start()
        self._finisher.observer = self.meter
        if self._file is not None:
            self._finisher.after_batch = self._file.tick
            self._finisher.on_flush = self._file.write
        self._attach(self._given or metrics.get_meter_provider())
        if self._given is None:
            self._setting = intercept(metrics.set_meter_provider, self._host_sets)  # type: ignore[arg-type]
        if hasattr(os, "register_at_fork"):
            here = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _renew(here))

    def stop(self) -> None:
        """Write what is left, and leave everything as it was."""
        if self._setting is not None:
            self._setting.undo()
        self.meter.stop()
        finisher = self._finisher
        finisher.observer = finisher.after_batch = finisher.on_flush = None
        self._producer.detach()
        if self._file is not None:
            self._file.close()

    def after_fork(self) -> None:
        """Begin anew in the child."""
        self.meter.after_fork()
        self._producer.after_fork()
        if self._file is not None:
            self._file.after_fork()

    def _attach(self, provider: Any) -> None:
        if provider is not self._attached and self._producer.attach(provider):
            self._attached = provider

    def _host_sets(self, function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Stand around `metrics.set_meter_provider`: the host's own is extended when it comes."""
        result = function(*args, **kwargs)
        try:
            self._attach(metrics.get_meter_provider())
        except Exception as error:
            fault("meter provider", error)
        return result


def _prices(settings: AgentSettings) -> PriceTable | None:
    try:
        return PriceTable.load(settings.prices) if settings.prices else PriceTable.shipped()
    except Exception as error:  # a file of the user's that is not there, or not right
        fault("prices", error)
        return None


def _renew(reference: weakref.ref[Metering]) -> None:
    metering = reference()
    if metering is not None:
        metering.after_fork()
