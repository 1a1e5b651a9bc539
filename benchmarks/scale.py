"""How analysis grows with the store: generated spans in, seconds, CPU seconds and memory out.

    python benchmarks/scale.py --spans 1000000 [--workers 2] [--also 250000]

Generates six weeks of runs inside the engine (hours and weekdays with their seasons, conversations of
four runs, and planted faults: a lookup that fails in one of twenty calls, searches asked again, a
release after four weeks that makes searches slower, latency that follows the load, one command ten
times slower), then analyses the store as `perfopt analyze --store` does, in a process of its own.
With `--also` a smaller store is analysed beside it, and the time per span compared. The same
arguments give the same spans.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from otel_perfopt.analyse.store_analysis import StoreQuestion, analyse_store
from otel_perfopt.measure.store.telemetry_store import open_store

PER_RUN = 8
WEEKS = 6
HOUR = 3600
BEGIN = 1_790_121_600 // HOUR * HOUR
INSERTED_AT_ONCE = 200_000

# One row a span; `r` are uniform numbers of the run and the span, made of hashes.
SPANS = """
WITH arrayCount(last -> last <= Run, {ends:Array(UInt64)}) AS HourOfRun,
cityHash64(Run, 1) / 18446744073709551616. AS U,
toInt64({begin:Int64} + HourOfRun * 3600) * 1000000000
    + toInt64(3600000000000 * ((Run - if(HourOfRun = 0, 0, {ends:Array(UInt64)}[HourOfRun])) + U)
    / greatest(1, {counts:Array(UInt64)}[HourOfRun + 1])) AS Begun,
['/ask', '/ask', '/ask', '/search', '/search', '/plan', '/report'][cityHash64(Run, 2) % 7 + 1] AS Command,
HourOfRun >= 672 AS Late,
1 + 0.4 * {counts:Array(UInt64)}[HourOfRun + 1] / {mean:Float64} AS Busy,
arrayMap(place -> exp(0.8 * ((cityHash64(Run, place, 3) + cityHash64(Run, place, 4)) / 18446744073709551616. - 1)),
    range(8)) AS Noise,
if(Command = '/report', 10., 1.) AS Slow,
arrayMap((noise, usual, place) -> toInt64(1e9 * noise * usual * if(place IN (2, 5, 7), Busy * Slow, 1.)
    * if(place IN (3, 6) AND Late, 1.6, 1.)), Noise, [0.05, 1.4, 0.8, 0.3, 1.1, 0.8, 1.2, 0.2], [1, 2, 3, 4, 5, 6, 7, 8])
    AS Took,
arrayCumSum(Took) AS Ended
SELECT fromUnixTimestamp64Nano(Begun + if(Place = 0, 0, Ended[Place])) AS Timestamp,
lower(hex(MD5(concat('trace', toString(Run))))) AS TraceId,
lower(hex(cityHash64(Run, Place, 5))) AS SpanId,
if(Place = 0, '', lower(hex(cityHash64(Run, 0, 5)))) AS ParentSpanId, '' AS TraceState,
[concat('command ', Command), 'chat large', 'execute_tool search', 'execute_tool lookup', 'chat large',
    'execute_tool search', 'chat small', 'execute_tool save'][Place + 1] AS SpanName,
'Internal' AS SpanKind, 'shop' AS ServiceName,
map('service.name', 'shop', 'service.version', if(Late, '1.5', '1.4')) AS ResourceAttributes,
'bench' AS ScopeName, '' AS ScopeVersion,
mapConcat(
    map('perfopt.store.types', [
        '{{}}', '{{"s":{{"gen_ai.usage.input_tokens":"i","gen_ai.usage.output_tokens":"i"}}}}',
        '{{"s":{{"perfopt.dataflow.inputs":"t","perfopt.dataflow.outputs":"t"}}}}'
        ][multiIf(Place = 0, 1, Place IN (1, 4, 6), 2, 3)],
        'gen_ai.conversation.id', concat('c', toString(intDiv(Run, 4)))),
    multiIf(Place = 0, map('perfopt.step.kind', 'command', 'perfopt.command.name', Command),
    Place IN (1, 4, 6), map('perfopt.step.kind', 'inference', 'gen_ai.operation.name', 'chat', 'gen_ai.request.model',
        if(Place = 6, 'small', 'large'), 'gen_ai.usage.input_tokens',
        toString(2000 + 900 * Place + 3000 * (Run % 4) + cityHash64(Run, Place, 6) % 500), 'gen_ai.usage.output_tokens',
        toString(50 + cityHash64(Run, Place, 7) % 400)),
    map('perfopt.step.kind', 'tool', 'gen_ai.operation.name', 'execute_tool', 'gen_ai.tool.name',
        if(Place = 7, 'save', if(Place = 3, 'lookup', 'search')), 'perfopt.tool.effects', if(Place = 7, 'write', 'read'),
        'perfopt.requested_by', lower(hex(cityHash64(Run, multiIf(Place < 4, 1, Place = 5, 4, 6), 5))),
        'perfopt.tool.arguments.digest', lower(hex(cityHash64(Run, if(Place = 5 AND U < 0.3, 2, Place), 8))),
        'perfopt.tool.result.digest', lower(hex(cityHash64(Run, if(Place = 5 AND U < 0.3, 2, Place), 9))),
        'perfopt.dataflow.inputs', concat('["', lower(hex(cityHash64(Run, Place, 10))), '"]'),
        'perfopt.dataflow.outputs', concat('["', lower(hex(cityHash64(Run, Place, 11))), '"]')))
) AS SpanAttributes,
toUInt64(if(Place = 0, Ended[8], Took[Place + 1])) AS Duration,
if(Place = 3 AND cityHash64(Run, 12) % 20 = 0, 'Error', 'Unset') AS StatusCode,
if(Place = 3 AND cityHash64(Run, 12) % 20 = 0, 'TimeoutError', '') AS StatusMessage
FROM (SELECT {first:UInt64} + number AS Run FROM numbers({runs:UInt64})) ARRAY JOIN range(8) AS Place
"""
COLUMNS = (
    "Timestamp, TraceId, SpanId, ParentSpanId, TraceState, SpanName, SpanKind, ServiceName, ResourceAttributes, "
    "ScopeName, ScopeVersion, SpanAttributes, Duration, StatusCode, StatusMessage"
)


def runs_by_hour(runs: int) -> list[int]:
    """Return how many runs begin in each hour: a day, a week and a slow rise."""
    weights = []
    for hour in range(WEEKS * 168):
        daily = 1 + 0.8 * math.sin((hour % 24 - 9) / 24 * 2 * math.pi)
        weekly = 0.4 if hour % 168 >= 120 else 1.0
        weights.append(daily * weekly * (1 + 0.3 * hour / (WEEKS * 168)))
    reached, counts = 0.0, []
    for weight in weights:
        before, reached = reached, reached + weight / sum(weights) * runs
        counts.append(round(reached) - round(before))
    return counts


def generate(folder: Path, spans: int) -> None:
    """Fill a store."""
    runs = spans // PER_RUN
    counts = runs_by_hour(runs)
    ends = [sum(counts[: hour + 1]) for hour in range(len(counts))]
    with open_store(folder) as store:
        for first in range(0, runs, INSERTED_AT_ONCE // PER_RUN):
            some = min(INSERTED_AT_ONCE // PER_RUN, runs - first)
            bound = {
                "ends": ends,
                "counts": counts,
                "begin": BEGIN,
                "mean": runs / len(counts),
                "first": first,
                "runs": some,
            }
            sql = SPANS.replace("{{", "{").replace("}}", "}")
            store.connection.run(f"INSERT INTO otel_traces ({COLUMNS}) {sql}", bound)


def analyse(folder: Path, workers: int) -> None:
    """Analyse a store in this process, and print what it took and what it found as JSON."""
    stages: dict[str, list[float]] = {}
    begin = time.perf_counter()
    with open_store(folder, create=False) as store:
        analysis = analyse_store(
            store,
            StoreQuestion(workers=workers),
            on_stage=lambda name: stages.setdefault(name, [time.perf_counter() - begin, time.process_time()]),
        )
    taken = time.perf_counter() - begin
    print(
        json.dumps(
            {
                "wall_s": taken,
                "stages": stages,
                "spans": analysis.tally.spans,
                "runs": analysis.counts.runs,
                "findings": [f"{one.kind}: {one.summary}" for one in analysis.findings],
                "notes": analysis.notes,
            }
        )
    )


class Memory(threading.Thread):
    """Adds up the resident memory (proportional set size) of a process and those it started, until told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak, self.stopped = pid, 0, threading.Event()
        self._cpu: dict[int, float] = {}

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the process and of those it started, also while they still wait for work."""
        return sum(self._cpu.values())

    def run(self) -> None:
        """Look five times a second."""
        while not self.stopped.wait(0.2):
            processes = _tree(self.pid)
            self.peak = max(self.peak, sum(map(_pss, processes)))
            for pid in processes:
                self._cpu[pid] = max(self._cpu.get(pid, 0.0), _cpu_s(pid))


def _tree(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found.extend(map(int, (task / "children").read_text().split()))
    return found


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def measured(folder: Path, spans: int, workers: int) -> dict:
    """Generate a store of some spans and analyse it in a process of its own."""
    store = folder / f"store-{spans}"
    begin = time.perf_counter()
    subprocess.run([sys.executable, __file__, "--generate", str(spans), "--store", str(store)], check=True)
    print(f"{spans:,} spans generated in {time.perf_counter() - begin:.0f} s", flush=True)
    command = [sys.executable, __file__, "--analyse", "--store", str(store), "--workers", str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        memory = Memory(process.pid)
        memory.start()
        out, _ = process.communicate()
        memory.stopped.set()
        memory.join()
    if process.returncode:
        raise SystemExit("the analysis failed")
    found = json.loads(out.splitlines()[-1])
    found["peak_bytes"] = memory.peak
    found["cpu_s"] = memory.cpu_s
    return found


def show(spans: int, found: dict) -> None:
    print(
        f"{spans:,} spans, {found['runs']:,} runs analysed: {found['wall_s']:.1f} s wall, {found['cpu_s']:.1f} s CPU of all "
        f"processes ({found['cpu_s'] / spans * 1e6:.0f} µs a span), peak {found['peak_bytes'] / 2**30:.2f} GiB of all processes; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    print(
        "  until: "
        + ", ".join(
            f"{name} {at:.1f} s ({cpu:.1f} s CPU of this process)" for name, (at, cpu) in found["stages"].items()
        )
    )
    for note in found["notes"]:
        print("  note:", note)
    for finding in found["findings"]:
        print("  found:", finding[:220])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--also", type=int, help="a second size, to compare the time per span with")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--generate", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--analyse", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.generate:
        generate(arguments.store, arguments.generate)
        return
    if arguments.analyse:
        analyse(arguments.store, arguments.workers)
        return
    sizes = [size for size in (arguments.also, arguments.spans) if size]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            found[size] = measured(Path(folder), size, arguments.workers)
            show(size, found[size])
    if arguments.also:
        each = [found[size]["cpu_s"] / size for size in sizes]
        print(f"CPU a span at {sizes[1]:,} over that at {sizes[0]:,}: {each[1] / each[0]:.2f}")


if __name__ == "__main__":
    main()
