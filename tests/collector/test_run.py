from __future__ import annotations

import contextlib
import os
import socket

import pytest

from collector.backends import BUILD, fetched
from collector.program import COLLECTOR, LOOPBACK, Program, answers, free_ports, program, running, until
from collector.sending import SERVICE, payload, send


@pytest.fixture
def one_machine(tmp_path):
    """Give `collector/run` on free ports, not running yet, and where the three are then."""
    for name in ("perfopt-collector", "jaeger"):
        program(name, BUILD)
    program("prometheus", "install it: apt-get install prometheus")
    ports = free_ports(8)
    grpc, http, health, own, jaeger_otlp, jaeger_http, jaeger_grpc, prometheus = (
        f"{LOOPBACK}:{port}" for port in ports
    )
    variables = {
        "COLLECTOR_OTLP_GRPC": grpc,
        "COLLECTOR_OTLP_HTTP": http,
        "COLLECTOR_HEALTH": health,
        "COLLECTOR_SELF_PORT": own.partition(":")[2],
        "JAEGER_OTLP": jaeger_otlp,
        "JAEGER_HTTP": jaeger_http,
        "JAEGER_GRPC": jaeger_grpc,
        "PROMETHEUS_LISTEN": prometheus,
        **{name: os.environ[name] for name in ("PERFOPT_BIN", "XDG_CACHE_HOME") if name in os.environ},
    }
    command = [str(COLLECTOR / "run"), str(tmp_path / "kept")]
    return Program(command, tmp_path / "log", f"http://{health}", variables), http, jaeger_http, prometheus, ports


def is_open(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def test_one_command_runs_all_three_and_ends_all_three(one_machine, tmp_path):
    """A span that is sent to it is in Jaeger and in a file, Prometheus answers, and SIGTERM leaves nothing running."""
    machine, http, jaeger, prometheus, ports = one_machine
    with running(machine):
        send(f"http://{http}", payload(range(10)))
        until("Jaeger is ready", lambda: answers(f"http://{jaeger}/api/services"))
        until("Jaeger has it", lambda: SERVICE in (fetched(f"http://{jaeger}/api/services")["data"] or []))
        until("Prometheus is ready", lambda: answers(f"http://{prometheus}/-/ready"))
        assert list((tmp_path / "kept" / "telemetry").glob("traces*.jsonl"))
    assert not [port for port in ports if is_open(port)]
