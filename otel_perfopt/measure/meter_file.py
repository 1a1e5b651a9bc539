"""A live meter in, its metrics as lines of OTLP JSON in rotated files out, written by whoever calls `tick`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import IO, Final, cast

from opentelemetry.exporter.otlp.json.file.metric_exporter import FileMetricExporter
from opentelemetry.sdk.resources import Resource

from otel_perfopt.measure.meter import LiveMeter
from otel_perfopt.measure.meter_provider import with_metrics
from otel_perfopt.measure.meter_series import MeterState
from otel_perfopt.signal.emit.telemetry_file import RotatingStream

FOLDER: Final = "metrics"
EVERY_S: Final = 10.0
FILE_BYTES: Final = 8 << 20
TOTAL_BYTES: Final = 64 << 20


class MeterFile:
    """Differences since the last line, at most one line in ten seconds; nothing is written where nothing was counted.

    A process that is killed (SIGKILL, power) loses what it counted since its last line: 20 seconds at
    most, because `tick` is called after a batch of spans and once more when none came for ten seconds.
    """

    def __init__(
        self,
        meter: LiveMeter,
        home: Path,
        service: str,
        resource: Resource,
        *,
        every_s: float = EVERY_S,
        clock_s: Callable[[], float] = monotonic,
    ) -> None:
        self._meter = meter
        self._resource = resource
        self._every_s = every_s
        self._clock_s = clock_s
        self._stream = RotatingStream((home / FOLDER).absolute(), service, FILE_BYTES, TOTAL_BYTES)
        self.after_fork()

    def after_fork(self) -> None:
        """Begin a file, and differences, of this process."""
        self._written_s = self._clock_s()
        self._state = MeterState(self._meter.start_ns)
        self._exporter = FileMetricExporter(stream=cast("IO[str]", self._stream))

    def tick(self) -> None:
        """Write a line if it is time."""
        if self._clock_s() - self._written_s >= self._every_s:
            self.write()

    def write(self) -> None:
        """Write what was counted since the last line."""
        self._written_s = self._clock_s()
        metrics = self._meter.metrics(self._state)
        if metrics:
            self._exporter.export(with_metrics(None, metrics, self._resource))

    def close(self) -> None:
        """Write what is left, and close the file."""
        self.write()
        self._stream.close()
