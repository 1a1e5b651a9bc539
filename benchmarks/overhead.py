"""What watching an agent costs: nothing in, ratios measured side by side with their spread out.

    python benchmarks/overhead.py [spans] [endurance] [taken] [others] [--rounds 60] [--environments DIR]

spans      what our processor and meter add to a span's start and end with 10 attributes: on the thread that ends it,
           and in all CPU with the background thread; beside them an SDK counter and histogram a span
endurance  1,000,000 spans in one process, from one thread, 64 threads and 10,000 asyncio tasks, with forks: memory, and
           every span counted or said to be dropped
taken      a tool of a framework (LangChain) taken over, and imports watched
others     one tool call and one chat call beside OpenInference, OpenLLMetry, the official package, logfire and NeMo
           Relay, each in an environment of its own under DIR (made there with `pip` where it is missing)

Every variant runs in every round in changing order; printed are medians over rounds and their 95 % bootstrap
intervals. Each block begins after a collection of garbage, so the collector's work is what the block itself makes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from overhead_rivals import interval, rivals
from overhead_taken import taken

from otel_perfopt.measure.meter import LiveMeter
from otel_perfopt.measure.meter_process import resident_bytes
from otel_perfopt.measure.price import PriceTable
from otel_perfopt.signal.calls import RunContext
from otel_perfopt.signal.emit.finisher import Finisher
from otel_perfopt.signal.emit.processor import PerfoptSpanProcessor
from otel_perfopt.signal.emit.runs import enter_run, leave_run

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


class Nowhere(SpanExporter):
    """Keeps nothing."""

    def export(self, spans: Any) -> SpanExportResult:  # noqa: ARG002 - the SDK's signature
        """Forget them."""
        return SpanExportResult.SUCCESS


def watched(*beside: SpanProcessor) -> tuple[TracerProvider, Finisher, LiveMeter]:
    """Return a provider with what an agent has: our processor, and a meter with prices."""
    finisher, meter = Finisher(), LiveMeter(PriceTable.shipped())
    finisher.observer = meter
    return provider_with(PerfoptSpanProcessor(finisher), *beside), finisher, meter


def provider_with(*processors: SpanProcessor) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)
    return provider


def batches() -> BatchSpanProcessor:
    return BatchSpanProcessor(Nowhere(), max_queue_size=100_000, schedule_delay_millis=1000)


def span_loop(provider: TracerProvider, attributes: dict[str, Any]) -> Callable[[int], None]:
    tracer = provider.get_tracer("bench")

    def loop(count: int) -> None:
        for _ in range(count):
            tracer.start_span("call", attributes=attributes).end()

    return loop


def in_command(provider: TracerProvider, loop: Callable[[int], None]) -> Callable[[int], None]:
    """Return the loop inside a command of a conversation, of which it is one step after the other."""
    span = provider.get_tracer("bench").start_span("/task")
    run = RunContext("/task", "c-1", "", span)

    def inside(count: int) -> None:
        token = enter_run(run)
        loop(count)
        leave_run(token)

    return inside


@dataclass
class Variant:
    """A loop, what it is compared with, and how its background work is done to its end."""

    loop: Callable[[int], None]
    base: str = ""
    flush: Callable[[], object] = lambda: None
    own: list[float] = field(default_factory=list)
    every: list[float] = field(default_factory=list)

    def block(self, count: int) -> tuple[float, float]:
        """Return µs a span: CPU of this thread, and of all."""
        gc.collect()
        cpu, began = time.process_time_ns(), time.thread_time_ns()
        self.loop(count)
        own = time.thread_time_ns() - began
        self.flush()
        return own / count / 1000, (time.process_time_ns() - cpu) / count / 1000


def spans(rounds: int, count: int = 500) -> None:
    ours, finisher, _ = watched()
    bare, exporting = provider_with(), provider_with(batches())
    both, other, _ = watched(batches())
    beside = provider_with(CounterAndHistogram())

    def ended() -> None:
        finisher.flush(60)

    def exported() -> None:
        other.flush(60)
        both.force_flush()

    plain = {key: value for key, value in CHAT.items() if key != "gen_ai.conversation.id"}
    variants = {
        "plain": Variant(span_loop(bare, HTTP)),
        "ours, a span that is no agent's": Variant(span_loop(ours, HTTP), "plain", ended),
        "counter and histogram a span": Variant(span_loop(beside, HTTP), "plain"),
        "plain, a chat span": Variant(span_loop(bare, CHAT)),
        "ours, a chat span": Variant(span_loop(ours, CHAT), "plain, a chat span", ended),
        "ours, named and counted in a command": Variant(
            in_command(ours, span_loop(ours, {**plain, "x": 1})), "plain, a chat span", ended
        ),
        "a chat span that is exported": Variant(span_loop(exporting, CHAT), flush=exporting.force_flush),
        "ours, a chat span that is exported": Variant(span_loop(both, CHAT), "a chat span that is exported", exported),
    }
    chance = random.Random(1)
    for round_ in range(-3, rounds):
        for name in chance.sample(list(variants), len(variants)):
            own, every = variants[name].block(count)
            if round_ >= 0:
                variants[name].own.append(own)
                variants[name].every.append(every)
    dropped = finisher.dropped + other.dropped
    print(f"a span's start and end with 10 attributes, {rounds} rounds of {count}; dropped {dropped}")
    for name, variant in variants.items():
        print(f"  {name:<37} {statistics.median(variant.own):7.2f} µs", end="")
        if variant.base:
            base = variants[variant.base]
            print(
                f"   adds {ratio(variant.own, base.own)} on its thread, {ratio(variant.every, base.every)} in all CPU",
                end="",
            )
        print()


def ratio(mine: list[float], base: list[float]) -> str:
    middle, low, high = interval([(one - plain) / plain for one, plain in zip(mine, base, strict=True)])
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


def counted(meter: LiveMeter) -> int:
    found = {metric.name: metric.data.data_points for metric in meter.metrics()}
    return sum(point.count for point in found.get("perfopt.inference.duration", ()))


def endurance(total: int = 1_000_000) -> None:
    provider, finisher, meter = watched()
    loop = span_loop(provider, CHAT)
    print(
        f"{total:,} chat spans through one process: a third from one thread, 64 threads and 10,000 asyncio tasks each"
    )
    began, made, first = time.perf_counter(), 0, 0.0
    third = total // 3
    stretches: list[tuple[str, int, Callable[[], object]]] = [
        *[("one thread", third // 4, lambda: loop(third // 4))] * 4,
        *[("64 threads", 64 * (third // 256), lambda: threads(loop, third // 256))] * 4,
        *[("10,000 asyncio tasks", 10_000 * (third // 40_000), lambda: asyncio.run(tasks(loop, third // 40_000)))] * 4,
    ]
    stretches.append(("one thread", total - sum(count for _, count, _ in stretches), lambda: None))
    stretches[-1] = ("one thread", stretches[-1][1], lambda: loop(stretches[-1][1]))
    for name, count, work in stretches:
        work()
        made += count
        finisher.flush(60)
        resident = (resident_bytes() or 0) / 2**20
        first = first or resident
        print(f"  {made:>9,}  {name:<21} resident {resident:6.1f} MiB  dropped {finisher.dropped:,}")
    lost = made - counted(meter) - finisher.dropped
    print(
        f"  {made:,} made, {counted(meter):,} counted, {finisher.dropped:,} dropped and said so, {lost} unseen; "
        f"memory {resident - first:+.1f} MiB since the first stretch; {time.perf_counter() - began:.0f} s"
    )
    forked(loop, finisher, meter)


def threads(loop: Callable[[int], None], each: int) -> None:
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(loop, [each] * 64))


async def tasks(loop: Callable[[int], None], each: int) -> None:
    async def task() -> None:
        await asyncio.sleep(0)
        loop(each)

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=["spans", "endurance", "taken", "others", []], default=[])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--environments", type=Path, default=None)
    options = parser.parse_args()
    parts = options.parts or ["spans", "endurance", "taken", "others"]
    gc.collect()
    gc.freeze()
    if "spans" in parts:
        spans(2 * options.rounds)
    if "endurance" in parts:
        endurance()
    if "taken" in parts:
        taken(options.rounds)
    if "others" in parts:
        folder = options.environments or Path(tempfile.mkdtemp(prefix="overhead-"))
        rivals(folder, options.rounds)


if __name__ == "__main__":
    main()
