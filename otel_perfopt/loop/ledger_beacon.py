"""The ledger's head told to others: each new head in, one OpenTelemetry log record out, so that cutting it shows."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry._logs import Logger, LoggerProvider, LogRecord, SeverityNumber, get_logger_provider
from opentelemetry.sdk._logs import LoggerProvider as SdkLoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource

from otel_perfopt import __version__
from otel_perfopt import conventions as c
from otel_perfopt.decide.ledger import LedgerHead
from otel_perfopt.loop.metrics_export import CONTROLLER_SERVICE, GRPC
from otel_perfopt.settings import ExportSettings

# A head that does not move is told again, so that a store that forgets old logs still has one.
EVERY_S = 3600.0


class LedgerBeacon:
    """Tells each new head once, and the present one every hour; faults are counted and never raised."""

    def __init__(self, provider: LoggerProvider, *, every_s: float = EVERY_S) -> None:
        self._logger: Logger = provider.get_logger(c.INSTRUMENTATION_SCOPE, __version__)
        self._every_ns = int(every_s * 1e9)
        self._told: tuple[str, int] | None = None
        self.faults = 0

    def tell(self, head: LedgerHead, now_ns: int) -> None:
        """Emit a record for a head; one of an empty ledger is none."""
        fresh = self._told is None or self._told[0] != head.hash or now_ns - self._told[1] >= self._every_ns
        if not head.sequence or not fresh:
            return
        self._told = (head.hash, now_ns)
        try:
            self._logger.emit(_record(head, now_ns))
        except Exception:
            self.faults += 1


def logger_provider(settings: ExportSettings) -> LoggerProvider | None:
    """Return the process's own provider where somebody set one up, else one by the OTEL_* variables, else None."""
    ready = get_logger_provider()
    if isinstance(ready, SdkLoggerProvider):
        return ready
    if not settings.logs_endpoint:
        return None
    named = OTELResourceDetector().detect().attributes.get(SERVICE_NAME)
    provider = SdkLoggerProvider(Resource.create({} if named else {SERVICE_NAME: CONTROLLER_SERVICE}))
    provider.add_log_record_processor(BatchLogRecordProcessor(_exporter(settings.logs_protocol)()))
    return provider


def _record(head: LedgerHead, now_ns: int) -> LogRecord:
    return LogRecord(
        timestamp=now_ns,
        observed_timestamp=now_ns,
        severity_number=SeverityNumber.INFO,
        severity_text="INFO",
        body=f"ledger head {head.sequence} {head.hash}",
        attributes={c.LEDGER_SEQUENCE: head.sequence, c.LEDGER_HASH: head.hash},
        event_name=c.LEDGER_HEAD_EVENT,
    )


def _exporter(protocol: str) -> Callable[[], LogRecordExporter]:
    if protocol == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter  # noqa: PLC0415 - heavy

        return OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http._log_exporter import (  # noqa: PLC0415 - the one that is wanted
        OTLPLogExporter as OverHttp,
    )

    return OverHttp
