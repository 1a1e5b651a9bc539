"""A tracer and a meter provider of a host, with this package on both; and an agent's spans written by hand."""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_perfopt


class Host:
    """What a host has set up, and what it gets."""

    def __init__(self, home, **options):
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(BatchSpanProcessor(self.exporter, schedule_delay_millis=60_000))
        self.reader = InMemoryMetricReader(**options)
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.home = home

    def instrument(self, **options):
        assert otel_perfopt.instrument(
            home=self.home, tracer_provider=self.tracers, meter_provider=self.meters, **options
        )

    def spans(self):
        """Finished spans in the order of their ends, after a flush by the host."""
        self.tracers.force_flush()
        return self.exporter.get_finished_spans()

    def metrics(self):
        """Data points by metric name, after everything has ended."""
        self.tracers.force_flush()
        return points_of(self.reader.get_metrics_data())


def points_of(data):
    if data is None:
        return {}
    found = {}
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                found.setdefault(metric.name, []).extend(metric.data.data_points)
    return found
