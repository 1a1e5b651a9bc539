"""The whole store by URL, with the client a server is asked with: on this engine, or on the server named by a variable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
from click.testing import CliRunner

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.store_analysis import StoreQuestion, analyse_store
from otel_perfopt.cli.group import cli
from otel_perfopt.errors import StoreError
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.measure.store.address import StoreAddress
from otel_perfopt.measure.store.connection import Connection
from otel_perfopt.measure.store.importer import import_recorded
from otel_perfopt.measure.store.schema import SPAN_COLUMNS
from otel_perfopt.measure.store.spans_source import StoreSource
from otel_perfopt.measure.store.telemetry_store import open_store
from otel_perfopt.measure.store.upkeep import compact, export_parquet, store_info
from otel_perfopt.measure.store.window import Window
from otel_perfopt.signal.read.recorded import open_recorded
from store.exporter import TABLES, write
from store.otlp import write_runs
from store.records import run
from store.test_variant import KINDS, foreign_spans

pytest.importorskip("chdb")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Where a server is: the one that PERFOPT_CLICKHOUSE_URL names, else the engine behind its HTTP interface."""
    named = os.environ.get("PERFOPT_CLICKHOUSE_URL")
    if named:
        yield named.rstrip("/")
        return
    folder = tmp_path_factory.mktemp("server")
    program = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("url_server.py"), folder / "data"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        port = program.stdout.readline().strip()
        assert port, "the server did not start"
        yield f"http://perfopt:secret@127.0.0.1:{port}"
        program.stdin.close()
        program.wait(30)


@pytest.fixture
def url(server):
    """A database of the test's own."""
    name = f"perfopt_test_{uuid.uuid4().hex[:12]}"
    root = Connection(StoreAddress.parse(server))
    root.run(f"CREATE DATABASE {name}")
    yield f"{server}/{name}"
    root.run(f"DROP DATABASE {name}")
    root.close()


def spans_in(store):
    """Return every span by its ids; one that stands twice fails."""
    found = [span for batch in StoreSource(store).batches() for span in batch]
    by_id = {(span.trace_id, span.span_id): replace(span, location="") for span in found}
    assert len(by_id) == len(found)
    return by_id


def test_what_is_imported_by_url_is_there_once(url, tmp_path):
    """Imported twice, grown and imported again: each span stands once, as reading the files gives it."""
    path = tmp_path / "agent.jsonl"
    write_runs(path, [run(number) for number in range(30)])
    with open_store(url) as store:
        assert import_recorded(store, [path]).appended.added == 120
        again = import_recorded(store, [path])
        assert (again.appended.added, again.unchanged_files) == (0, 1)
    with path.open("ab") as file:
        whole = tmp_path / "more.jsonl"
        write_runs(whole, [run(30)])
        file.write(whole.read_bytes())
    with open_store(url) as store:
        assert import_recorded(store, [path]).appended.added == 4
        read = {
            (span.trace_id, span.span_id): replace(span, location="")
            for batch in open_recorded([path]).batches()
            for span in batch
        }
        assert spans_in(store) == read


def test_an_analysis_by_url_says_what_one_of_the_files_says(url, tmp_path):
    """Counts, usage and kinds of findings are those of reading the files."""
    path = tmp_path / "agent.jsonl"
    write_runs(path, [run(number, tools=3) for number in range(60)])
    here = analyse(RecordedExecutions(open_recorded([path])))
    with open_store(url) as store:
        import_recorded(store, [path])
        there = analyse_store(store, StoreQuestion(window=Window()))
    assert there.counts == here.counts
    assert there.tokens == here.tokens
    assert [(row.name, row.count) for row in there.tools] == [(row.name, row.count) for row in here.tools]
    assert {finding.label for finding in there.findings} == {finding.label for finding in here.findings}


def test_upkeep_by_url(url, tmp_path):
    """Doubled rows fold, what is held is told, and the export holds every row."""
    with open_store(url) as store:
        store.append([span for number in range(10) for span in run(number)])
        store.connection.run("INSERT INTO otel_traces SELECT * FROM otel_traces")
        compact(store)
        info = store_info(store)
        assert (info.spans, info.traces) == (40, 10)
        assert info.disk_bytes > 0
        exported = export_parquet(store, tmp_path / "out")
        files = sorted((tmp_path / "out").rglob("*.parquet"))
        tables = [pyarrow.parquet.read_table(file) for file in files]
    assert exported
    assert sum(table.num_rows for table in tables) == 40
    assert set(SPAN_COLUMNS) <= set(tables[0].column_names)


@pytest.mark.parametrize("name", list(TABLES))
def test_tables_of_the_exporter_are_read_by_url(url, name):
    """A table that a Collector made and filled is recognised and gives its spans and runs."""
    connection = Connection(StoreAddress.parse(url))
    connection.run(TABLES[name])
    for spans in foreign_spans():
        write(connection, spans, typed=name.startswith("json"))
    connection.close()
    with open_store(url, create=False) as store:
        assert store.variant.kind is KINDS[name]
        assert len(spans_in(store)) == sum(len(spans) for spans in foreign_spans())
        runs = list(RecordedExecutions(StoreSource(store)).executions())
        assert {execution.command.name for execution in runs} >= {"/ask", "/book"}
        assert analyse_store(store, StoreQuestion(window=Window())).counts.runs == len(runs)


def test_commands_take_a_url_and_keep_its_password_to_themselves(url, tmp_path):
    """`perfopt analyze --store URL` imports and reports; `perfopt store info` tells; neither shows the password."""
    path = tmp_path / "agent.jsonl"
    write_runs(path, [run(number) for number in range(12)])
    told = CliRunner().invoke(
        cli, ["analyze", str(path), "--store", url, "--workers", "1", "--json", str(tmp_path / "report.json")]
    )
    assert told.exit_code == 0, told.output
    assert json.loads((tmp_path / "report.json").read_text())["counts"]["runs"] == 12
    info = CliRunner().invoke(cli, ["store", "info", "--store", url])
    assert info.exit_code == 0, info.output
    assert "48" in info.output
    assert "secret" not in told.output + info.output


def test_a_server_that_cannot_be_reached_is_one_clear_line():
    """The address without its password, and why; not the driver's layers."""
    with pytest.raises(StoreError) as said:
        open_store("http://perfopt:secret@127.0.0.1:9/x")
    assert str(said.value) == "the store http://127.0.0.1:9/x cannot be reached: Connection refused"
