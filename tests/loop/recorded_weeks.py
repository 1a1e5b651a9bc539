"""Weeks of an agent's runs as telemetry files: load by the hour in, OTLP JSON lines out."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import tarfile
from pathlib import Path

from otel_perfopt import conventions as c

HOUR = 3600 * 10**9
MONDAY = 1_788_739_200 * 10**9  # 2026-09-07 00:00 UTC


class RecordedWeeks:
    """Writes runs hour by hour; `seconds` says how long one lasts, given its hour and the hour's runs."""

    def __init__(self, home: Path, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.count = 0
        (home / "telemetry").mkdir(parents=True, exist_ok=True)
        self.file = home / "telemetry" / "agent-1.jsonl"

    def write(self, hour, runs, seconds, release="1.0"):
        """Write the runs of one hour since the first Monday."""
        lines = []
        for moment in sorted(self.random.random() for _ in range(runs)):
            self.count += 1
            start = MONDAY + int((hour + moment) * HOUR)
            span = {
                "traceId": f"{self.count:032x}",
                "spanId": f"{self.count:016x}",
                "name": "command /task",
                "startTimeUnixNano": str(start),
                "endTimeUnixNano": str(start + int(seconds * self.random.lognormvariate(0, 0.3) * 10**9)),
                "attributes": [
                    {"key": c.STEP_KIND, "value": {"stringValue": "command"}},
                    {"key": c.COMMAND_NAME, "value": {"stringValue": "/task"}},
                ],
            }
            scope = {"scope": {"name": c.INSTRUMENTATION_SCOPE}, "spans": [span]}
            resource = {"attributes": [{"key": c.SERVICE_VERSION, "value": {"stringValue": release}}]}
            lines.append(json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}) + "\n")
        with self.file.open("a") as file:
            file.writelines(lines)

    def poisson(self, mean):
        """Draw how many runs an hour has."""
        limit, product, drawn = math.exp(-mean), self.random.random(), 0
        while product > limit:
            product *= self.random.random()
            drawn += 1
        return drawn


def daily_load(hour):
    """Runs an hour on average: none of the night's quiet at 15:00 UTC, when there are twice as many as usual."""
    return 4 * (1 + 0.9 * math.sin(2 * math.pi * (hour % 24 - 9) / 24))


def servegen_load(archive: Path) -> list[float]:
    """Requests a second of all recorded clients together, by hour over fourteen days."""
    total = None
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if member.name.endswith("-trace.csv"):
                rows = csv.reader(io.StringIO(tar.extractfile(member).read().decode()))
                rates = [float(row[1]) for row in rows]
                total = rates if total is None else [a + b for a, b in zip(total, rates, strict=True)]
    return [sum(total[place : place + 6]) / 6 for place in range(0, len(total), 6)]
