from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
from click.testing import CliRunner

from otel_perfopt.cli.group import cli
from otel_perfopt.errors import NoTelemetryError, PerfoptError
from otel_perfopt.measure.store.schema import SPAN_COLUMNS, set_retention
from otel_perfopt.measure.store.upkeep import compact, export_parquet, store_info
from otel_perfopt.measure.store.window import Window
from store.otlp import write_runs
from store.records import SECOND, START, run

DAY = 86_400 * SECOND


def test_a_store_tells_what_it_holds(store):
    """Spans, traces, days, window and promoted columns are those of what was put in."""
    store.append([span for number in range(10) for span in run(number)])
    store.append([span for number in range(10, 13) for span in run(number, start_ns=START + 2 * DAY + number * SECOND)])
    store.append(run(99, start_ns=0))
    info = store_info(store)
    assert (info.spans, info.traces, info.services, info.untimed_spans) == (56, 14, 1, 4)
    assert info.window_ns == (START, START + 2 * DAY + 14 * SECOND)
    assert [day.spans for day in info.days] == [4, 40, 12]
    assert info.disk_bytes > 0
    assert {"StepKind", "Tool", "InputTokens", "ConversationId"} <= set(info.promoted)
    rows = store.connection.rows("SELECT StepKind, Command, Tool, ResultTokens, count() FROM otel_traces GROUP BY ALL")
    assert ("command", "/ask", "", None, 14) in rows
    assert ("tool", "", "search", 17, 14) in rows


def test_retention_removes_old_days_and_keeps_what_has_no_clock(store):
    """With a retention, compacting removes spans past it; chat trajectories stay; it can be lifted."""
    store.append(run(0, start_ns=1_500_000_000 * SECOND))
    store.append(run(1, start_ns=0))
    set_retention(store.connection, 30)
    assert "toIntervalDay(30)" in store_info(store).retention
    compact(store)
    assert {day.day for day in store_info(store).days} == {"1970-01-01"}
    set_retention(store.connection, None)
    assert store_info(store).retention == ""
    store.append(run(0, start_ns=1_500_000_000 * SECOND))
    compact(store)
    assert store_info(store).spans == 8


def test_compacting_folds_what_stands_twice(store):
    """Rows written twice behind the store's back become one, and only one part a day remains."""
    store.append(run(0))
    store.connection.run("INSERT INTO otel_traces SELECT * FROM otel_traces")
    store.append(run(1))
    compact(store)
    info = store_info(store)
    assert (info.spans, info.parts) == (8, 1)


def test_exported_parquet_reads_back(store, tmp_path):
    """A window is written a file a day, with the exporter's columns, and another store takes it as it is."""
    runs = [run(number, start_ns=START + number * DAY // 2) for number in range(6)]
    store.append([span for spans in runs for span in spans])
    window = Window(START + DAY, START + 3 * DAY)
    files = export_parquet(store, tmp_path / "out", window)
    tables = [pyarrow.parquet.read_table(path) for path in files]
    assert sum(table.num_rows for table in tables) == 16
    assert tables[0].column_names == list(SPAN_COLUMNS)
    attributes = dict(tables[0].column("SpanAttributes").to_pylist()[0])
    assert attributes["perfopt.step.kind"] in {b"command", b"tool", "command", "tool"}
    before = set(store.connection.rows("SELECT TraceId, SpanId, Duration FROM otel_traces"))
    store.connection.run("TRUNCATE TABLE otel_traces")
    columns = ", ".join(f"`{name}`" for name in SPAN_COLUMNS)
    for path in files:
        store.connection.run(
            f"INSERT INTO otel_traces ({columns}) SELECT {columns} FROM file({{path:String}}, Parquet)",
            {"path": str(path)},
        )
    assert set(store.connection.rows("SELECT TraceId, SpanId, Duration FROM otel_traces")) < before
    assert store_info(store).spans == 16


def invoke(*arguments: str | Path):
    result = CliRunner().invoke(cli, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def telemetry(tmp_path):
    folder = tmp_path / "telemetry"
    folder.mkdir()
    write_runs(folder / "agent.jsonl", [run(number) for number in range(40)])
    return folder


def test_the_store_command_imports_shows_compacts_and_exports(tmp_path, telemetry):
    """The four subcommands say what they did, in counts that are right."""
    place = tmp_path / "store"
    assert "160 spans imported from 1 files" in invoke("store", "import", "--store", place, telemetry).output
    assert "1 files had nothing new" in invoke("store", "import", "--store", place, telemetry).output
    shown = invoke("store", "info", "--store", place).output
    assert "160" in shown
    assert "kept for good" in shown
    assert "0 spans stood twice" in invoke("store", "compact", "--store", place).output
    assert "written: " in invoke("store", "export", "--store", place, tmp_path / "out").output
    with pytest.raises(PerfoptError, match="no spans in that time"):
        invoke("store", "export", "--store", place, tmp_path / "out", "--to", "2001-01-01")
    with pytest.raises(NoTelemetryError, match="perfopt store import"):
        invoke("store", "info", "--store", tmp_path / "nothing")


def test_analysing_a_store_finds_what_analysing_the_files_finds(tmp_path, telemetry):
    """The same runs give the same document, from files and from a store."""
    invoke("analyze", telemetry, "--json", tmp_path / "files.json", "--quiet")
    invoke("analyze", telemetry, "--store", tmp_path / "store", "--json", tmp_path / "store.json", "--quiet")
    files, store = (json.loads((tmp_path / name).read_text()) for name in ("files.json", "store.json"))
    for said in (files, store):
        said.pop("input", None)
        said.pop("tally", None)
    assert store == files
    sampled = tmp_path / "sampled.json"
    invoke("analyze", "--store", tmp_path / "store", "--sample", "35", "--json", sampled, "--quiet")
    assert any("Read from a sample" in note for note in json.loads(sampled.read_text())["notes"])
    with pytest.raises(NoTelemetryError, match="no run begins"):
        invoke("analyze", "--store", tmp_path / "store", "--to", "2001-01-01", "--quiet")
    assert invoke("analyze", telemetry, "--sample", "5").exit_code == 2


def test_reading_without_a_store_never_opens_the_engine(tmp_path, telemetry):
    """Analysing files needs no database engine."""
    program = (
        "import sys; from otel_perfopt.cli.group import cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(sorted({'chdb', 'clickhouse_connect'} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, "analyze", str(telemetry), "--quiet"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "[]"
    assert not (tmp_path / "store").exists()
