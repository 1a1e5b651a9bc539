from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from collector.backends import Collector, Prometheus
from collector.program import LOOPBACK, free_ports, running, until
from collector.sending import ids_in, payload, span_id


@pytest.fixture
def pair(tmp_path):
    """Give an agent's Collector and the gateway it sends to; neither runs yet."""
    gateway = Collector("gateway", tmp_path / "gateway", {"COLLECTOR_JAEGER": f"{LOOPBACK}:1"})
    agent = Collector("agent", tmp_path / "agent", {"COLLECTOR_GATEWAY": gateway.grpc})
    return agent, gateway


def write(agent: Collector, name: str, *bodies: dict) -> Path:
    """Append lines to a file as an agent's process does."""
    path = agent.agent_files / "support" / "telemetry" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(body, separators=(",", ":")) + "\n" for body in bodies)
    return path


def test_lines_of_agents_files_arrive_once_across_restarts(pair):
    """What stood in the files before, what is added while it runs and while it is down: each span arrives once."""
    agent, gateway = pair
    write(agent, "a-1.jsonl", payload(range(100)), payload(range(100, 200)))
    with running(gateway.program):
        with running(agent.program):
            until("what was there", lambda: len(ids_in(gateway.telemetry)) == 200)
            write(agent, "a-1.jsonl", payload(range(200, 300)))
            until("what was added", lambda: len(ids_in(gateway.telemetry)) == 300)
        write(agent, "a-1.jsonl", payload(range(300, 400)))
        write(agent, "a-2.jsonl", payload(range(400, 500)))
        with running(agent.program):
            until("what came meanwhile", lambda: len(ids_in(gateway.telemetry)) >= 500)
    assert sorted(ids_in(gateway.telemetry)) == [span_id(number) for number in range(500)]


def test_a_line_longer_than_a_megabyte_is_read_whole(pair):
    """A batch of many long spans is one line of three megabytes, and all of its spans arrive."""
    agent, gateway = pair
    path = write(agent, "a-1.jsonl", payload(range(300), padding=10_000))
    assert path.stat().st_size > 3_000_000
    with running(gateway.program), running(agent.program):
        until("all spans", lambda: len(ids_in(gateway.telemetry)) == 300)


def test_two_files_that_begin_alike_are_two_files(pair):
    """Processes of one service write the same long resource first; neither file is taken for the other."""
    agent, gateway = pair
    resource = "k8s " * 1000
    write(agent, "a-1.jsonl", payload(range(50), resource=resource))
    write(agent, "a-2.jsonl", payload(range(50, 100), resource=resource))
    with running(gateway.program), running(agent.program):
        until("all spans", lambda: len(ids_in(gateway.telemetry)) == 100)


def test_files_wait_while_the_queue_is_full(tmp_path):
    """With no gateway and a small queue the reading of files stops; when the gateway comes, every span arrives."""
    gateway = Collector("gateway", tmp_path / "gateway", {"COLLECTOR_JAEGER": f"{LOOPBACK}:{free_ports(1)[0]}"})
    agent = Collector(
        "agent", tmp_path / "agent", {"COLLECTOR_GATEWAY": gateway.grpc, "COLLECTOR_QUEUE_BYTES": str(256 << 10)}
    )
    count = 1000
    write(agent, "a-1.jsonl", *(payload([number], padding=2000) for number in range(count)))
    with running(agent.program):
        until("something is queued", lambda: any(agent.state.glob("exporter_*")))
        with running(gateway.program):
            until("all spans", lambda: len(set(ids_in(gateway.telemetry))) == count)


def test_what_perfopt_run_keeps_is_read(tmp_path):
    """Spans and metrics that a program wrote under `perfopt run` are in the gateway's file and in Prometheus."""
    prometheus = Prometheus(tmp_path / "prometheus")
    variables = {"COLLECTOR_JAEGER": f"{LOOPBACK}:1", "COLLECTOR_PROMETHEUS": prometheus.write}
    gateway = Collector("gateway", tmp_path / "gateway", variables)
    prometheus.watch(gateway)
    agent = Collector("agent", tmp_path / "agent", {"COLLECTOR_GATEWAY": gateway.grpc})
    home = agent.agent_files / "support"
    code = (
        "import otel_perfopt\n"
        "@otel_perfopt.tool(effects='read')\n"
        "def lookup(key):\n"
        "    return key\n"
        "with otel_perfopt.command('/query', conversation_id='c-1'):\n"
        "    lookup('ORD-1')\n"
    )
    perfopt = Path(sys.executable).with_name("perfopt")
    done = subprocess.run(
        [perfopt, "run", "--home", home, "--service", "from-files", sys.executable, "-c", code],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    counted = 'histogram_count(perfopt_command_duration_seconds{job="from-files"})'
    with running(prometheus.program), running(gateway.program), running(agent.program):
        until("both spans", lambda: len(ids_in(gateway.telemetry)) >= 2)
        found = until("the metrics", lambda: prometheus.query(counted))
        assert [one["value"][1] for one in found] == ["1"]
