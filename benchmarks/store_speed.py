"""How fast spans go into the store and out again, beside other ways: spans a second with their spread, and ratios.

    python benchmarks/store_speed.py [--spans 50000] [--rounds 3] [--phoenix VENV]

Generates runs as OTLP JSON lines, then measures in one run: our reader alone, the import, an import
that finds nothing new, the engine's own JSON reading of the same file (raw fields, nothing
normalised), whole traces back from the store, and runs built from them; and `analyze` of one file
directly against through a new store. With a virtual environment that has arize-phoenix (`pip install
arize-phoenix` in one of its own), 5,000 spans are sent to it over OTLP/HTTP and imported here, by
turns; for both the clock stops when all are in the database.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.measure.store.importer import import_recorded
from otel_perfopt.measure.store.spans_source import StoreSource
from otel_perfopt.measure.store.telemetry_store import TelemetryStore, open_store
from otel_perfopt.signal.read.recorded import open_recorded

SECOND = 10**9
START = 1_790_000_000 * SECOND
PER_RUN = 8
BATCH = 500
PHOENIX_SPANS = 5_000

ENGINE_JSON = """SELECT count(), sum(length(Name)), sum(length(Attributes)), max(End) FROM (
    SELECT span.name AS Name, span.attributes AS Attributes, span.endTimeUnixNano AS End FROM (
        SELECT arrayJoin(arrayFlatten(arrayMap(scopes -> scopes.spans,
            arrayFlatten(arrayMap(resources -> resources.scopeSpans, resourceSpans))))) AS span
        FROM file({path:String}, JSONEachRow, 'resourceSpans Array(Tuple(scopeSpans Array(Tuple(spans Array(Tuple(
            traceId String, spanId String, parentSpanId String, name String, startTimeUnixNano UInt64,
            endTimeUnixNano UInt64, attributes Array(Tuple(key String, value Tuple(stringValue String, intValue String)))
        ))))))')
    )
)"""


def text(key: str, value: str) -> dict:
    return {"key": key, "value": {"stringValue": value}}


def count(key: str, value: int) -> dict:
    return {"key": key, "value": {"intValue": str(value)}}


def spans_of_run(number: int, chance: random.Random) -> list[dict]:
    """Return one command with model calls and tool calls in turn, ten attributes or so each."""
    begin = START + number * 2 * SECOND
    trace, root = f"{chance.getrandbits(128):032x}", f"{chance.getrandbits(64):016x}"
    found = [
        {
            "traceId": trace,
            "spanId": root,
            "name": "command /ask",
            "startTimeUnixNano": str(begin),
            "endTimeUnixNano": str(begin + PER_RUN * SECOND),
            "attributes": [text("perfopt.step.kind", "command"), text("perfopt.command.name", f"/ask{number % 7}")],
        }
    ]
    for place in range(1, PER_RUN):
        shared = [text("gen_ai.conversation.id", f"c{number // 5}"), text("gen_ai.provider.name", "openai")]
        if place % 2:
            name = "chat gpt-5"
            attributes = [
                text("gen_ai.operation.name", "chat"),
                text("gen_ai.request.model", "gpt-5"),
                count("gen_ai.usage.input_tokens", chance.randrange(20_000)),
                count("gen_ai.usage.output_tokens", chance.randrange(900)),
                text("gen_ai.response.id", f"{chance.getrandbits(64):x}"),
            ]
        else:
            name = "execute_tool search"
            attributes = [
                text("gen_ai.operation.name", "execute_tool"),
                text("gen_ai.tool.name", "search"),
                text("gen_ai.tool.call.id", f"{chance.getrandbits(64):x}"),
                text("perfopt.tool.effects", "read"),
                text("perfopt.tool.arguments.digest", f"{chance.getrandbits(64):x}"),
            ]
        found.append(
            {
                "traceId": trace,
                "spanId": f"{chance.getrandbits(64):016x}",
                "parentSpanId": root,
                "name": name,
                "startTimeUnixNano": str(begin + place * SECOND),
                "endTimeUnixNano": str(begin + (place + 1) * SECOND),
                "attributes": shared + attributes,
            }
        )
    return found


def lines(spans: int, seed: int) -> list[dict]:
    """Return OTLP documents of `BATCH` spans each."""
    chance = random.Random(seed)
    every = [span for number in range(spans // PER_RUN) for span in spans_of_run(number, chance)]
    resource = {"attributes": [text("service.name", "bench")]}
    return [
        {
            "resourceSpans": [
                {"resource": resource, "scopeSpans": [{"scope": {"name": "b"}, "spans": every[place : place + BATCH]}]}
            ]
        }
        for place in range(0, len(every), BATCH)
    ]


def write(path: Path, documents: list[dict]) -> Path:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def show(what: str, spans: int, seconds: list[float]) -> float:
    """Print spans a second, the median with the lowest and highest; return the median."""
    rates = sorted(spans / each for each in seconds)
    middle = statistics.median(rates)
    print(f"{what:44} {middle:10,.0f} spans/s   ({rates[0]:,.0f} to {rates[-1]:,.0f})", flush=True)
    return middle


def read_all(path: Path) -> None:
    for _ in open_recorded([path]).batches():
        pass


def drain(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


def measure(folder: Path, spans: int, rounds: int) -> None:
    taken: dict[str, list[float]] = {}
    with open_store(folder / "store") as store:
        for number in range(rounds):
            path = write(folder / f"spans-{number}.jsonl", lines(spans, seed=number))
            works = {
                "our reader alone": partial(read_all, path),
                "import: read, normalise, write, fsync": partial(import_recorded, store, [path]),
                "import again, nothing new": partial(import_recorded, store, [path]),
                "the engine's own JSON reading, raw": partial(store.connection.rows, ENGINE_JSON, {"path": str(path)}),
            }
            for what, work in works.items():
                taken.setdefault(what, []).append(timed(work))
        total = spans * rounds
        for _ in range(rounds):
            back = timed(lambda: drain(StoreSource(store).batches())) / rounds
            taken.setdefault("whole traces back from the store", []).append(back)
            runs = timed(lambda: drain(StoreSource(store).executions())) / rounds
            taken.setdefault("runs built from the store", []).append(runs)
        size = store.connection.rows(
            "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'otel_traces'"
        )
    for what, seconds in taken.items():
        show(what, spans, seconds)
    print(f"{'on disk':44} {size[0][0] / total:10,.0f} bytes a span")


def through_a_store(path: Path, folder: Path) -> None:
    with open_store(folder) as store:
        import_recorded(store, [path])
        analyse(StoreSource(store))


def directly(path: Path) -> None:
    analyse(RecordedExecutions(open_recorded([path])))


def compare_analyses(folder: Path, rounds: int) -> None:
    for spans in (800, 8_000):
        path = write(folder / f"analyse-{spans}.jsonl", lines(spans, seed=77))
        direct, stored = [], []
        for number in range(rounds):
            direct.append(timed(partial(directly, path)))
            new = folder / f"temporary-{spans}-{number}"
            stored.append(timed(partial(through_a_store, path, new)))
        ratios = sorted(b / a for a, b in zip(direct, stored, strict=True))
        print(
            f"analyse one file of {spans:,} spans: directly {statistics.median(direct):.2f} s, through a new store "
            f"{statistics.median(stored):.2f} s: {statistics.median(ratios):.1f} times ({ratios[0]:.1f} to {ratios[-1]:.1f})"
        )


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Phoenix:
    """A server of arize-phoenix with an SQLite database of its own."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self.port, grpc = free_port(), free_port()
        self.database = folder / "phoenix.db"
        settings = {
            "PHOENIX_WORKING_DIR": str(folder),
            "PHOENIX_PORT": str(self.port),
            "PHOENIX_GRPC_PORT": str(grpc),
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_TELEMETRY_ENABLED": "false",
        }
        self.process = subprocess.Popen(
            [environment / "bin" / "phoenix", "serve"],
            env={**os.environ, **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 600
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.process.kill()
                raise SystemExit("phoenix does not start")
            time.sleep(0.5)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2):
                return True
        except OSError:
            return False

    def spans(self) -> int:
        """Return how many are in the database."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            return database.execute("SELECT count(*) FROM spans").fetchone()[0]

    def cpu_s(self) -> float:
        """Return the CPU time the server has used (Linux)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def ingest(self, bodies: list[bytes], spans: int) -> float:
        """Send and wait until all are in the database; seconds."""
        wanted = self.spans() + spans
        begin = time.perf_counter()
        for body in bodies:
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.port}/v1/traces", body, {"content-type": "application/x-protobuf"}
            )
            urllib.request.urlopen(request, timeout=60).close()
        while self.spans() < wanted:
            if time.perf_counter() - begin > 300:
                raise SystemExit("phoenix has not stored everything after 300 s")
            time.sleep(0.02)
        return time.perf_counter() - begin


def protobuf(document: dict) -> bytes:
    """Return an OTLP JSON document as the protobuf that exporters send."""
    data = TracesData()
    resource_spans = data.resource_spans.add()
    said = document["resourceSpans"][0]
    add_attributes(resource_spans.resource.attributes, said["resource"]["attributes"])
    scope_spans = resource_spans.scope_spans.add()
    for raw in said["scopeSpans"][0]["spans"]:
        span = scope_spans.spans.add()
        span.trace_id = bytes.fromhex(raw["traceId"])
        span.span_id = bytes.fromhex(raw["spanId"])
        span.parent_span_id = bytes.fromhex(raw.get("parentSpanId", ""))
        span.name = raw["name"]
        span.start_time_unix_nano = int(raw["startTimeUnixNano"])
        span.end_time_unix_nano = int(raw["endTimeUnixNano"])
        add_attributes(span.attributes, raw["attributes"])
    return data.SerializeToString()


def add_attributes(target: Any, said: list[dict]) -> None:
    for each in said:
        added = target.add()
        added.key = each["key"]
        if "intValue" in each["value"]:
            added.value.int_value = int(each["value"]["intValue"])
        else:
            added.value.string_value = each["value"]["stringValue"]


def compare_phoenix(environment: Path, folder: Path, rounds: int) -> None:
    (folder / "phoenix").mkdir()
    phoenix = Phoenix(environment, folder / "phoenix")
    ours, theirs, our_cpu, their_cpu = [], [], [], []
    try:
        with open_store(folder / "beside") as store:
            warm_up(store, phoenix, folder)
            for number in range(rounds):
                documents = lines(PHOENIX_SPANS, seed=1000 + number)
                path = write(folder / f"beside-{number}.jsonl", documents)
                before = time.process_time()
                ours.append(timed(partial(import_recorded, store, [path])))
                our_cpu.append(time.process_time() - before)
                before = phoenix.cpu_s()
                theirs.append(phoenix.ingest([protobuf(each) for each in documents], PHOENIX_SPANS))
                their_cpu.append(phoenix.cpu_s() - before)
    finally:
        phoenix.process.terminate()
        phoenix.process.wait()
    show("5,000 spans into this store", PHOENIX_SPANS, ours)
    show("5,000 spans into arize-phoenix (SQLite)", PHOENIX_SPANS, theirs)
    for what, pairs in (("wall clock", zip(ours, theirs, strict=True)), ("CPU", zip(our_cpu, their_cpu, strict=True))):
        ratios = sorted(b / a for a, b in pairs)
        print(f"ratio by {what}: {statistics.median(ratios):.0f} times ({ratios[0]:.0f} to {ratios[-1]:.0f})")


def warm_up(store: TelemetryStore, phoenix: Phoenix, folder: Path) -> None:
    documents = lines(400, seed=999)
    import_recorded(store, [write(folder / "warm-up.jsonl", documents)])
    phoenix.ingest([protobuf(each) for each in documents], 400)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--phoenix", type=Path, metavar="VENV")
    parser.add_argument("--only-phoenix", action="store_true", help="leave the other measurements out")
    arguments = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.only_phoenix:
            measure(Path(folder), arguments.spans // PER_RUN * PER_RUN, arguments.rounds)
            compare_analyses(Path(folder), arguments.rounds)
        if arguments.phoenix:
            compare_phoenix(arguments.phoenix, Path(folder), arguments.rounds)


if __name__ == "__main__":
    main()
