from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.proto_json.trace.v1.trace import TracesData
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from otel_perfopt.signal.emit.telemetry_file import RotatingStream, TelemetryFileExporter


def finished(count: int) -> Sequence[ReadableSpan]:
    kept: list[ReadableSpan] = []

    class Keep(SimpleSpanProcessor):
        def __init__(self):
            pass

        def on_end(self, span):
            kept.append(span)

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Keep())
    for number in range(count):
        provider.get_tracer("test").start_span(f"span {number}", attributes={"n": number}).end()
    return kept


def names_in(folder: Path) -> list[str]:
    found = []
    for path in sorted(folder.glob("*.jsonl"), key=lambda path: int(path.stem.rpartition("-")[2])):
        for line in path.read_text().splitlines():
            for resource in TracesData.from_json(line).resource_spans:
                found += [span.name for scope in resource.scope_spans for span in scope.spans]
    return found


def test_files_are_rotated_by_size_and_nothing_is_lost(tmp_path):
    """Every span is in some file, files stay under the limit, and each line is whole OTLP JSON."""
    exporter = TelemetryFileExporter(RotatingStream(tmp_path, "my agent/1", file_bytes=2000))
    spans = finished(40)
    for span in spans:
        assert exporter.export([span]) is SpanExportResult.SUCCESS
    exporter.shutdown()
    assert names_in(tmp_path) == [f"span {number}" for number in range(40)]
    files = list(tmp_path.iterdir())
    assert len(files) > 3
    assert all(path.stat().st_size <= 2000 for path in files)
    assert all(path.name.startswith("my_agent_1-") and f"-{os.getpid()}-" in path.name for path in files)
    assert exporter.dropped == 0


def test_the_total_is_bounded_and_the_oldest_go_first(tmp_path):
    """Past the total, the oldest files are removed, and what was written last is still there."""
    exporter = TelemetryFileExporter(RotatingStream(tmp_path, file_bytes=2000, total_bytes=6000))
    for span in finished(60):
        exporter.export([span])
    exporter.shutdown()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 6000
    left = names_in(tmp_path)
    assert left[-1] == "span 59"
    assert "span 0" not in left


def test_a_folder_that_cannot_be_written_drops_and_counts(tmp_path):
    """Where a file stands in the folder's place nothing raises; every span is counted as dropped."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    exporter = TelemetryFileExporter(RotatingStream(blocked))
    assert exporter.export(finished(3)) is SpanExportResult.FAILURE
    assert exporter.dropped == 3


def test_after_a_full_disk_lines_are_whole_again(tmp_path, monkeypatch):
    """A write that stops half way is cut back, so that what comes later can be read."""
    exporter = TelemetryFileExporter(RotatingStream(tmp_path))
    one, two, three = finished(3)
    exporter.export([one])
    write = os.write

    def half(descriptor, data):
        if len(data) > 10:
            return write(descriptor, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    assert exporter.export([two]) is SpanExportResult.FAILURE
    monkeypatch.setattr(os, "write", write)
    assert exporter.export([three]) is SpanExportResult.SUCCESS
    exporter.shutdown()
    assert names_in(tmp_path) == ["span 0", "span 2"]
    assert exporter.dropped == 1


def test_a_disk_that_stays_full_gets_no_empty_files(tmp_path, monkeypatch):
    """However many batches fail, no file is left for them, and what comes later is in the next one."""
    exporter = TelemetryFileExporter(RotatingStream(tmp_path))
    spans = finished(8)
    exporter.export(spans[:1])
    write = os.write

    def full(_descriptor, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for span in spans[1:7]:
        assert exporter.export([span]) is SpanExportResult.FAILURE
    monkeypatch.setattr(os, "write", write)
    exporter.export(spans[7:])
    exporter.shutdown()
    assert sorted(path.name.rpartition("-")[2] for path in tmp_path.iterdir()) == ["0.jsonl", "1.jsonl"]
    assert names_in(tmp_path) == ["span 0", "span 7"]
    assert exporter.dropped == 6


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_device_that_is_really_full(tmp_path, monkeypatch):
    """The operating system's own refusal is counted like any other."""
    stream = RotatingStream(tmp_path)
    monkeypatch.setattr(stream, "_begin", lambda: os.open("/dev/full", os.O_WRONLY))
    exporter = TelemetryFileExporter(stream)
    assert exporter.export(finished(2)) is SpanExportResult.FAILURE
    assert exporter.dropped == 2
    exporter.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_writes_a_file_of_its_own(tmp_path):
    """Also when the parent was exporting as it forked: the child's exporter has a lock that is free."""
    exporter = TelemetryFileExporter(RotatingStream(tmp_path))
    first, second, third = finished(3)
    exporter.export([first])
    lock = exporter._inner._exporter._lock
    with lock:  # as another thread of the parent would hold it
        child = os.fork()
        if child == 0:
            os._exit(0 if exporter.export([second]) is SpanExportResult.SUCCESS else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    exporter.export([third])
    exporter.shutdown()
    by_process = {int(path.stem.split("-")[-2]): path.read_text() for path in tmp_path.iterdir()}
    assert set(by_process) == {os.getpid(), child}
    assert "span 1" in by_process[child]
    assert "span 1" not in by_process[os.getpid()]
    assert names_in(tmp_path).count("span 0") == 1


def test_many_threads_write_whole_lines(tmp_path):
    """Lines of concurrent exports never mix."""
    exporter = TelemetryFileExporter(RotatingStream(tmp_path, file_bytes=5000))
    spans = finished(100)
    threads = [threading.Thread(target=lambda part=spans[n::4]: [exporter.export([s]) for s in part]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    exporter.shutdown()
    for path in tmp_path.iterdir():
        for line in path.read_text().splitlines():
            json.loads(line)
    assert sorted(names_in(tmp_path)) == sorted(f"span {number}" for number in range(100))
