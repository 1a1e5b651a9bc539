from __future__ import annotations

import re
import signal
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from collector.backends import Collector, Jaeger
from collector.program import LOOPBACK, running, until
from collector.sending import SERVICE, batches, ids_in, payload, send, span_id

SPANS = 3000
QUEUE_BYTES = 512 << 10


def sent_from(http: str, count: int = SPANS, size: int = 50, **options) -> int:
    """Send spans from several senders at once; returns how often one was refused."""
    with ThreadPoolExecutor(8) as senders:
        return sum(senders.map(lambda numbers: send(http, payload(numbers, **options)), batches(count, size)))


def expected(count: int = SPANS) -> set[str]:
    return {span_id(number) for number in range(count)}


def test_a_dead_backend_keeps_nothing_from_the_others_and_gets_all_when_it_is_back(tmp_path):
    """Without Jaeger the file is written at once; when Jaeger comes it is given every span, once."""
    jaeger = Jaeger(tmp_path / "jaeger")
    gateway = Collector("gateway", tmp_path / "gateway", {"COLLECTOR_JAEGER": jaeger.otlp})
    with running(gateway.program):
        assert sent_from(gateway.http) == 0
        until("all spans are in the file", lambda: set(ids_in(gateway.telemetry)) == expected())
        with running(jaeger.program):
            until("all spans are in Jaeger", lambda: len(jaeger.span_ids(SERVICE)) >= SPANS)
            found = jaeger.span_ids(SERVICE)
    assert set(found) == expected()
    assert len(found) == SPANS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_what_was_acknowledged_survives_a_restart(tmp_path, number):
    """Spans that wait for a dead gateway are on disk: they arrive after the agent's Collector was stopped or killed."""
    gateway = Collector("gateway", tmp_path / "gateway", {"COLLECTOR_JAEGER": f"{LOOPBACK}:1"})
    agent = Collector("agent", tmp_path / "agent", {"COLLECTOR_GATEWAY": gateway.grpc})
    agent.program.start()
    try:
        sent_from(agent.http)
        agent.program.stop(number)
        with running(gateway.program):
            agent.program.start()
            until("all spans arrive", lambda: set(ids_in(gateway.telemetry)) == expected())
    finally:
        agent.program.stop()


def test_a_gateway_that_is_killed_has_written_what_it_acknowledged(tmp_path):
    """After SIGKILL the gateway's file holds every span it took, and Jaeger is given the rest from the queue."""
    jaeger = Jaeger(tmp_path / "jaeger")
    gateway = Collector("gateway", tmp_path / "gateway", {"COLLECTOR_JAEGER": jaeger.otlp})
    gateway.program.start()
    try:
        sent_from(gateway.http)
        gateway.program.stop(signal.SIGKILL)
        assert set(ids_in(gateway.telemetry)) == expected()
        with running(jaeger.program):
            gateway.program.start()
            until("all spans are in Jaeger", lambda: set(jaeger.span_ids(SERVICE)) == expected())
    finally:
        gateway.program.stop()


@pytest.mark.slow
def test_a_burst_beyond_capacity_is_slowed_down_and_not_lost(tmp_path):
    """A queue of half a megabyte takes a burst of six: senders wait or come again, and every span arrives."""
    gateway = Collector("gateway", tmp_path / "gateway", {"COLLECTOR_JAEGER": f"{LOOPBACK}:1"})
    agent = Collector(
        "agent", tmp_path / "agent", {"COLLECTOR_GATEWAY": gateway.grpc, "COLLECTOR_QUEUE_BYTES": str(QUEUE_BYTES)}
    )
    with running(agent.program), ThreadPoolExecutor(1) as background:
        burst = background.submit(sent_from, agent.http, padding=2000)
        until("the queue is full", lambda: _is_full(agent))
        assert not burst.done()
        with running(gateway.program):
            burst.result(timeout=60)
            until("all spans arrive", lambda: set(ids_in(gateway.telemetry)) >= expected())
            assert set(ids_in(gateway.telemetry)) == expected()


def _is_full(agent: Collector) -> bool:
    """Tell whether the queue on disk holds nearly what it may."""
    text = urllib.request.urlopen(agent.own_metrics, timeout=5).read().decode()
    sizes = [float(size) for size in re.findall(r"^otelcol_exporter_queue_size\S* (\S+)$", text, re.MULTILINE)]
    return max(sizes, default=0) > QUEUE_BYTES / 2
