"""What a kill and a full disk leave behind: every acknowledged span, once."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_perfopt.errors import StoreError
from otel_perfopt.measure.store.importer import import_recorded
from otel_perfopt.measure.store.spans_source import StoreSource
from otel_perfopt.measure.store.telemetry_store import open_store
from otel_perfopt.measure.store.writers import writers
from otel_perfopt.signal.record import SpanRecord
from store.otlp import write_runs
from store.records import SECOND, START, run

TESTS = Path(__file__).parents[1]

IMPORTER = """
import sys
from pathlib import Path
from otel_perfopt.measure.store.importer import import_recorded
from otel_perfopt.measure.store.telemetry_store import open_store
with open_store(sys.argv[1]) as store:
    print("open", flush=True)
    import_recorded(store, [Path(sys.argv[2])], lambda done, total: print(done, flush=True))
print("done", flush=True)
"""

GROWER = """
import sys
from otel_perfopt.measure.store.telemetry_store import open_store
from store.records import run
with open_store(sys.argv[1]) as store:
    print("open", flush=True)
    for tools in range(1, 400):
        for number in range(3):
            store.append(run(number, tools=tools))
        print(tools, flush=True)
print("done", flush=True)
"""

LIMITED = """
import resource, sys, tempfile
from pathlib import Path
from otel_perfopt.errors import StoreError
from otel_perfopt.measure.store.importer import import_recorded
from otel_perfopt.measure.store.telemetry_store import open_store
store = open_store(sys.argv[1])
if sys.argv[3] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    import_recorded(store, [Path(sys.argv[2])])
except StoreError as error:
    print("refused:", error)
else:
    print("imported")
"""


def child(program: str, *arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


def killed_after(program: str, store: Path, argument: str, wait_s: float) -> list[str]:
    """Run a child, kill it `wait_s` after it opened the store, and return the lines it had said."""
    with child(program, str(store), argument) as process:
        assert process.stdout.readline() == "open\n"
        time.sleep(wait_s)
        process.send_signal(signal.SIGKILL)
        return process.stdout.read().splitlines()


def counts(store) -> tuple[int, int]:
    return tuple(store.connection.rows(f"SELECT count(), uniqExact(TraceId, SpanId) FROM {store.spans}")[0])


@pytest.mark.slow
def test_killed_imports_lose_and_double_nothing(tmp_path):
    """An importer killed at random moments, again and again, ends with every span once."""
    folder, place = tmp_path / "telemetry", tmp_path / "store"
    folder.mkdir()
    for number in range(20):
        write_runs(folder / f"agent-{number}.jsonl", [run(number * 15 + each) for each in range(15)])
    size = sum(path.stat().st_size for path in folder.iterdir())
    chance = random.Random(7)
    acknowledged = 0
    for _ in range(3):
        said = killed_after(IMPORTER, place, str(folder), chance.uniform(0.05, 1.0))
        done = [int(line) for line in said if line.isdigit()]
        with open_store(place) as store:
            rows, spans = counts(store)
            assert rows == spans
            assert not writers(store.connection)
        acknowledged = max([acknowledged, *done])
        assert spans >= 1200 * acknowledged // size - 60
    with open_store(place) as store:
        import_recorded(store, [folder])
        assert counts(store) == (1200, 1200)
        found = {span for batch in StoreSource(store).batches() for span in ((s.trace_id, s.span_id) for s in batch)}
        assert found == {(span.trace_id, span.span_id) for number in range(300) for span in run(number)}


@pytest.mark.slow
def test_killed_while_spans_grow_leaves_the_longest_acknowledged_state(tmp_path):
    """Killed between writing a longer state and removing the shorter, a span still stands once, the longer one."""
    place = tmp_path / "store"
    chance = random.Random(11)
    for _ in range(3):
        said = killed_after(GROWER, place, "", chance.uniform(0.3, 1.5))
        acknowledged = max([int(line) for line in said if line.isdigit()], default=0)
        with open_store(place) as store:
            rows, spans = counts(store)
            assert rows == spans
            commands = [
                span for batch in StoreSource(store).batches() for span in batch if span.name.startswith("command")
            ]
            assert len(commands) <= 3
            if acknowledged:
                assert min(span.end_ns - span.start_ns for span in commands) >= (acknowledged + 1) * SECOND
        shutil.rmtree(place)


def noise(number: int) -> list[SpanRecord]:
    """Return spans whose attributes do not compress."""
    chance = random.Random(number)
    return [
        SpanRecord(
            f"{number * 100 + each + 1:032x}",
            f"{number * 100 + each + 1:016x}",
            "",
            "noise",
            START + number * SECOND,
            START + number * SECOND + 1,
            {"noise": chance.randbytes(600).hex()},
        )
        for each in range(100)
    ]


def limited(store: Path, folder: Path, limit: int) -> str:
    with child(LIMITED, str(store), str(folder), str(limit)) as process:
        return process.communicate(timeout=120)[0]


@pytest.mark.slow
def test_a_file_that_may_not_grow_stops_the_import_with_a_reason(tmp_path):
    """Where files may not grow (a quota), the import ends with one line; later it goes on and nothing is doubled."""
    folder, place = tmp_path / "telemetry", tmp_path / "store"
    folder.mkdir()
    for number in range(8):
        write_runs(folder / f"noise-{number}.jsonl", [noise(number * 4 + each) for each in range(4)])
    said = limited(place, folder, 150_000)
    assert said.startswith("refused: the store ")
    assert len(said.splitlines()) == 1
    assert limited(place, folder, 0) == "imported\n"
    with open_store(place) as store:
        assert counts(store) == (3200, 3200)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few megabytes."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.slow
def test_a_full_disk_loses_nothing_that_was_acknowledged(small_disk):
    """On a full disk the import stops; what it had acknowledged is there, and with room it goes on."""
    place = small_disk / "store"
    acknowledged = 0
    with open_store(place) as store:
        while True:
            try:
                store.append(noise(acknowledged // 100 + 1))
            except StoreError as error:
                reason = str(error)
                break
            acknowledged += 100
            assert acknowledged < 50_000
    assert "space" in reason
    assert acknowledged
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    with open_store(place) as store:
        rows, spans = counts(store)
        assert rows == spans >= acknowledged
        for number in range(1, acknowledged // 100 + 5):
            store.append(noise(number))
        assert counts(store) == (acknowledged + 400, acknowledged + 400)
