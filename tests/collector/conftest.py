"""A running gateway with Jaeger and Prometheus behind it, and the example agent's telemetry sent through all three."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from collector.backends import Collector, Jaeger, Prometheus
from collector.program import ROOT, running

EXAMPLES = ROOT / "examples"
SERVICE = "support-agent"


@dataclass(frozen=True)
class Stack:
    gateway: Collector
    jaeger: Jaeger
    prometheus: Prometheus


@dataclass(frozen=True)
class SentRuns:
    """What the example agent's process printed, and when it ran (Unix seconds)."""

    outcomes: Path
    started: float
    ended: float


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """Run Jaeger, Prometheus, and a gateway that sends to both."""
    folder = tmp_path_factory.mktemp("stack")
    jaeger = Jaeger(folder / "jaeger")
    prometheus = Prometheus(folder / "prometheus")
    variables = {
        "COLLECTOR_JAEGER": jaeger.otlp,
        "COLLECTOR_PROMETHEUS": prometheus.write,
        "COLLECTOR_SPAN_METRICS_EVERY": "1s",
    }
    gateway = Collector("gateway", folder / "gateway", variables)
    prometheus.watch(gateway)
    with running(jaeger.program), running(prometheus.program), running(gateway.program):
        yield Stack(gateway, jaeger, prometheus)


@pytest.fixture(scope="session")
def sent(stack, tmp_path_factory):
    """Run the example agent as a user would, with OTLP to the gateway; a few conversations."""
    folder = tmp_path_factory.mktemp("agent")
    started = time.time()
    outcomes = run_example(folder, stack.gateway)
    return SentRuns(outcomes, started, time.time())


def run_example(folder: Path, gateway: Collector) -> Path:
    """Run the example under `opentelemetry-instrument`, exporting to the Collector; return its outcomes."""
    outcomes = folder / "outcomes.jsonl"
    environment = {
        **os.environ,
        "PYTHONPATH": str(EXAMPLES),
        "OTEL_SERVICE_NAME": SERVICE,
        "OTEL_EXPORTER_OTLP_ENDPOINT": gateway.http,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        # Prometheus 2.42 drops the exemplars that come with a native histogram's very first sample: spans go out in
        # more batches than one, as a longer-lived agent's do.
        "OTEL_BSP_SCHEDULE_DELAY": "500",
        "PERFOPT_HOME": str(folder / "home"),
        "PERFOPT_EFFECTS": "get_*=read,search_docs=read,list_*=read,shipping_status=read,inventory=read",
    }
    instrument = Path(sys.executable).with_name("opentelemetry-instrument")
    arguments = ["--conversations", "4", "--concurrency", "2", "--pause", "0.2", "--out", str(outcomes)]
    done = subprocess.run(
        [instrument, sys.executable, "-m", "support", "--no-back-office", *arguments],
        env=environment,
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return outcomes
