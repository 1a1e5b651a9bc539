from __future__ import annotations

import os
import sys
import urllib.request
from pathlib import Path

import pytest

from collector.backends import Collector
from collector.program import COLLECTOR, LOOPBACK, Program, free_ports, running, until
from collector.sending import SERVICE, ids_in, payload, send, span_id

if os.environ.get("PERFOPT_REQUIRE_COLLECTOR") != "1":
    pytest.importorskip("chdb")

COLUMNS = {
    "Timestamp": "DateTime64(9)",
    "TraceId": "String",
    "SpanId": "String",
    "ParentSpanId": "String",
    "TraceState": "String",
    "SpanName": "LowCardinality(String)",
    "SpanKind": "LowCardinality(String)",
    "ServiceName": "LowCardinality(String)",
    "ResourceAttributes": "Map(LowCardinality(String), String)",
    "ScopeName": "String",
    "ScopeVersion": "String",
    "SpanAttributes": "Map(LowCardinality(String), String)",
    "Duration": "UInt64",
    "StatusCode": "LowCardinality(String)",
    "StatusMessage": "String",
    "Events.Timestamp": "Array(DateTime64(9))",
    "Events.Name": "Array(LowCardinality(String))",
    "Events.Attributes": "Array(Map(LowCardinality(String), String))",
    "Links.TraceId": "Array(String)",
    "Links.SpanId": "Array(String)",
    "Links.TraceState": "Array(String)",
    "Links.Attributes": "Array(Map(LowCardinality(String), String))",
}


class Engine:
    """ClickHouse's engine behind its HTTP interface."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        port = free_ports(1)[0]
        self.address = f"{LOOPBACK}:{port}"
        server = Path(__file__).with_name("chdb_server.py")
        self.program = Program(
            [sys.executable, str(server), str(port), str(folder / "data")], folder / "log", f"http://{self.address}/"
        )

    def rows(self, statement: str) -> list[list[str]]:
        """Return what a statement gives, as text."""
        # The exporter asks for the Native format; here rows are asked for that a person can read.
        wrapped = f"SELECT formatRowNoNewline('TSV', *) FROM ({statement}) FORMAT TSVRaw"
        request = urllib.request.Request(f"http://{self.address}/", wrapped.encode())
        with urllib.request.urlopen(request, timeout=20) as response:
            return [line.split("\t") for line in response.read().decode().splitlines()]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Send spans through a gateway with the ClickHouse overlay into the engine; give the engine."""
    folder = tmp_path_factory.mktemp("clickhouse")
    engine = Engine(folder / "engine")
    gateway = Collector(
        "gateway",
        folder / "gateway",
        {
            "COLLECTOR_JAEGER": f"{LOOPBACK}:1",
            "COLLECTOR_CLICKHOUSE": f"http://{engine.address}",
            # The stand-in for a server does not unpack.
            "COLLECTOR_CLICKHOUSE_COMPRESS": "none",
        },
        overlays=(COLLECTOR / "gateway-clickhouse.yaml",),
    )
    with running(engine.program), running(gateway.program):
        send(gateway.http, payload(range(100), **{"perfopt.command.name": "/query"}))
        until("the file has them", lambda: len(ids_in(gateway.telemetry)) == 100)
        until("all rows", lambda: _count(engine) == 100)
        yield engine


def _count(engine: Engine) -> int:
    try:
        return int(engine.rows("SELECT count() FROM otel.otel_traces")[0][0])
    except OSError:
        return 0


def test_the_exporter_makes_the_columns_that_the_store_reads(filled):
    """The table that the real exporter creates has the columns and types which the analysis was written for."""
    found = dict(filled.rows("SELECT name, type FROM system.columns WHERE database = 'otel' AND table = 'otel_traces'"))
    assert {name: found.get(name) for name in COLUMNS} == COLUMNS


def test_a_span_is_a_row_with_its_attributes(filled):
    """Ids, names, duration and our attributes stand in the row as they were sent, each span once."""
    statement = (
        "SELECT SpanId, ServiceName, SpanName, Duration, SpanAttributes['perfopt.command.name'],"
        " SpanAttributes['gen_ai.tool.name'] FROM otel.otel_traces ORDER BY SpanId"
    )
    rows = filled.rows(statement)
    rest = [SERVICE, "execute_tool lookup", "5000000", "/query", "lookup"]
    assert rows == [[span_id(number), *rest] for number in range(100)]
