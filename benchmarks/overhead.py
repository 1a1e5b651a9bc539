"""What watching an agent costs: nothing in, ratios measured side by side with their spread out.

    python benchmarks/overhead.py [spans] [endurance] [others] [--rounds 40] [--environments DIR]

spans      what our processor and meter add to a span's start and end with 10 attributes: on the thread that ends it,
           and in all CPU with the background thread; beside them an SDK counter and histogram a span
endurance  1,000,000 spans in one process: memory, and every span counted or said to be dropped; 64 threads,
           10,000 asyncio tasks, forks
others     one tool call and one chat call beside OpenInference, OpenLLMetry, the official package, logfire and NeMo
           Relay, each in an environment of its own under DIR (made there with `uv` or `pip` where it is missing)

Every variant runs in every round in changing order; printed are the median and the 5th to 95th percentile over
rounds. Times are CPU times, which a busy machine changes least.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from otel_perfopt.measure.meter import LiveMeter
from otel_perfopt.measure.meter_process import resident_bytes
from otel_perfopt.signal.emit.finisher import Finisher
from otel_perfopt.signal.emit.processor import PerfoptSpanProcessor

HTTP = {
    "http.request.method": "GET", "url.full": "http://shop/orders/1", "server.address": "shop", "server.port": 80,
    "http.response.status_code": 200, "network.protocol.version": "1.1", "user_agent.original": "agent",
    "url.scheme": "http", "http.route": "/orders/{id}", "client.address": "10.0.0.1",
}  # fmt: skip
CHAT = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-5",
    "gen_ai.response.model": "gpt-5", "gen_ai.response.id": "r-1", "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100, "gen_ai.conversation.id": "c-1", "server.address": "model",
    "gen_ai.response.finish_reasons": ("stop",),
}  # fmt: skip
OTHERS = {
    "openinference": ("openinference-instrumentation-openai",),
    "openllmetry": ("opentelemetry-instrumentation-openai", "traceloop-sdk", "httpx"),
    "official": ("opentelemetry-instrumentation-genai-openai",),
    "logfire": ("logfire",),
    "relay": ("nemo-relay",),
}
ONE = Path(__file__).with_name("overhead_instrumentations.py")


class CounterAndHistogram(SpanProcessor):
    """What a processor pays that records each span in the SDK's own instruments."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        meter = MeterProvider([self.reader], shutdown_on_exit=False).get_meter("m")
        self._spans, self._duration = meter.create_counter("spans"), meter.create_histogram("duration")

    def on_end(self, span: Any) -> None:
        """Count the span and its duration."""
        labels = {"name": span.name}
        self._spans.add(1, labels)
        self._duration.record((span.end_time - span.start_time) / 1e9, labels)


def watched() -> tuple[TracerProvider, Finisher, LiveMeter]:
    finisher, meter = Finisher(), LiveMeter()
    finisher.observer = meter
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(PerfoptSpanProcessor(finisher))
    return provider, finisher, meter


def span_loop(provider: TracerProvider, attributes: dict[str, Any]) -> Callable[[int], None]:
    tracer = provider.get_tracer("bench")

    def loop(count: int) -> None:
        for _ in range(count):
            tracer.start_span("call", attributes=attributes).end()

    return loop


def spans(rounds: int, count: int = 2000) -> None:
    beside = TracerProvider(shutdown_on_exit=False)
    beside.add_span_processor(CounterAndHistogram())
    ours, finisher, _ = watched()
    bare = TracerProvider(shutdown_on_exit=False)
    variants: dict[str, tuple[Callable[[int], None], str]] = {
        "plain": (span_loop(bare, HTTP), ""),
        "ours, a span that is no agent's": (span_loop(ours, HTTP), "plain"),
        "counter and histogram a span": (span_loop(beside, HTTP), "plain"),
        "plain, a chat span": (span_loop(bare, CHAT), ""),
        "ours, a chat span": (span_loop(ours, CHAT), "plain, a chat span"),
    }
    own: dict[str, list[float]] = {name: [] for name in variants}
    every: dict[str, list[float]] = {name: [] for name in variants}
    chance = random.Random(1)
    for round_ in range(-3, rounds):
        for name in chance.sample(list(variants), len(variants)):
            cpu, began = time.process_time_ns(), time.thread_time_ns()
            variants[name][0](count)
            thread = time.thread_time_ns() - began
            finisher.flush(60)
            if round_ >= 0:
                own[name].append(thread / count / 1000)
                every[name].append((time.process_time_ns() - cpu) / count / 1000)
    print(f"a span's start and end with 10 attributes, {rounds} rounds of {count}; dropped {finisher.dropped}")
    for name, (_, base) in variants.items():
        print(f"  {name:<34} {statistics.median(own[name]):7.2f} µs", end="")
        if base:
            print(f"   adds {ratios(own, name, base)} on its thread, {ratios(every, name, base)} in all CPU", end="")
        print()


def ratios(taken: dict[str, list[float]], name: str, base: str) -> str:
    return spread((mine - plain) / plain for mine, plain in zip(taken[name], taken[base], strict=True))


def spread(values: Iterable[float], digits: int = 3) -> str:
    ordered = sorted(values)
    low, high = (ordered[round(q * (len(ordered) - 1))] for q in (0.05, 0.95))
    return f"{statistics.median(ordered):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def counted(meter: LiveMeter) -> int:
    found = {metric.name: metric.data.data_points for metric in meter.metrics()}
    return sum(point.count for point in found.get("perfopt.inference.duration", ()))


def endurance(total: int = 1_000_000) -> None:
    provider, finisher, meter = watched()
    loop = span_loop(provider, CHAT)
    print(f"{total:,} chat spans through one process")
    began = time.perf_counter()
    for done in range(0, total, total // 10):
        loop(total // 10)
        print(
            f"  {done + total // 10:>9,}  resident {(resident_bytes() or 0) / 2**20:6.1f} MiB  dropped {finisher.dropped:,}"
        )
    report("one thread", total, finisher, meter, time.perf_counter() - began)

    provider, finisher, meter = watched()
    loop = span_loop(provider, CHAT)
    began = time.perf_counter()
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(loop, [500] * 64))
    report("64 threads", 64 * 500, finisher, meter, time.perf_counter() - began)

    provider, finisher, meter = watched()
    loop = span_loop(provider, CHAT)
    began = time.perf_counter()
    asyncio.run(tasks(loop))
    report("10,000 asyncio tasks", 10_000, finisher, meter, time.perf_counter() - began)
    forked(loop, finisher, meter)


async def tasks(loop: Callable[[int], None]) -> None:
    async def task() -> None:
        await asyncio.sleep(0)
        loop(1)

    await asyncio.gather(*(task() for _ in range(10_000)))


def forked(loop: Callable[[int], None], finisher: Finisher, meter: LiveMeter, children: int = 4) -> None:
    pids = []
    for _ in range(children):
        pid = os.fork()
        if pid == 0:
            meter.after_fork()
            finisher.dropped = 0
            loop(1000)
            finisher.flush(30)
            os._exit(0 if counted(meter) + finisher.dropped == 1000 else 1)
        pids.append(pid)
    failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
    print(f"  {children} forks of 1,000 spans: {children - failed} counted all of theirs and none of the parent's")


def report(name: str, made: int, finisher: Finisher, meter: LiveMeter, seconds: float) -> None:
    finisher.flush(60)
    lost = made - counted(meter) - finisher.dropped
    print(
        f"  {name}: {made:,} made, {counted(meter):,} counted, {finisher.dropped:,} dropped, {lost} unseen, {seconds:.1f} s"
    )


def others(folder: Path, rounds: int) -> None:
    print(f"one call: CPU added on the caller's thread, and in all threads, in µs ({rounds} rounds of 100 calls)")
    for name in ("ours", *OTHERS):
        try:
            interpreter = sys.executable if name == "ours" else environment(folder / name, OTHERS[name])
            done = subprocess.run(
                [interpreter, ONE, name, str(rounds)], capture_output=True, text=True, timeout=600, check=False
            )
            found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
            why = (done.stderr.strip().splitlines() or ["no output"])[-1] if not found else ""
        except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
            found, why = {}, str(error)
        print(f"  {name}{': skipped: ' + why if why else ''}")
        for call, taken in found.items():
            if isinstance(taken, dict):
                print(f"    {call:<14} {spread(taken['added'], 0):>20}   all {spread(taken['cpu'], 0)}")


def environment(folder: Path, packages: tuple[str, ...]) -> str:
    """Return the interpreter of an environment with `packages`, made if it is not there."""
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        wanted = (*packages, "openai", "opentelemetry-sdk")
        subprocess.run([interpreter, "-m", "pip", "install", "-q", *wanted], check=True, timeout=600)
    return str(interpreter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=["spans", "endurance", "others", []], default=[])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--environments", type=Path, default=None)
    options = parser.parse_args()
    parts = options.parts or ["spans", "endurance", "others"]
    if "spans" in parts:
        spans(options.rounds)
    if "endurance" in parts:
        endurance()
    if "others" in parts:
        folder = options.environments or Path(tempfile.mkdtemp(prefix="overhead-"))
        others(folder, options.rounds)


if __name__ == "__main__":
    main()
