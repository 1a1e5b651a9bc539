"""What the environment says of OTLP in, a meter provider that sends the controller's metrics out, or None."""

from __future__ import annotations

from opentelemetry import metrics
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource

from otel_perfopt.settings import ExportSettings

CONTROLLER_SERVICE = "perfopt-controller"
GRPC = "grpc"


def meter_provider(settings: ExportSettings) -> MeterProvider | None:
    """Return the process's own provider where somebody set one up, else one by the OTEL_* variables.

    None where no endpoint is configured: then nobody is to be told. What is left is sent when the
    process ends; an endpoint that does not answer costs the loop nothing, as the SDK's own thread
    waits for it.
    """
    ready = metrics.get_meter_provider()
    if isinstance(ready, SdkMeterProvider):
        return ready
    if not settings.metrics_endpoint:
        return None
    reader = PeriodicExportingMetricReader(_exporter(settings.metrics_protocol))
    return SdkMeterProvider([reader], resource=_resource())


def _exporter(protocol: str) -> MetricExporter:
    if protocol == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: PLC0415 - heavy

        return OTLPMetricExporter()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415 - the one that is wanted
        OTLPMetricExporter as OverHttp,
    )

    return OverHttp()


def _resource() -> Resource:
    """Return the environment's resource; the controller's name where it names no service."""
    if OTELResourceDetector().detect().attributes.get(SERVICE_NAME):
        return Resource.create()
    return Resource.create({SERVICE_NAME: CONTROLLER_SERVICE})
