"""One tool call and one chat call under one instrumentation: its name and lines on stdin in, a line of JSON for each out.

    python benchmarks/overhead_instrumentations.py ours|openinference|openllmetry|official|logfire|relay

`benchmarks/overhead.py` starts it once in each instrumentation's own environment and asks for a round by
a line, so that rounds of all of them take turns. In a round the same calls are made plain and
instrumented, in changing order, so that differences are paired. All export through the SDK's batch
processor to an exporter that keeps nothing, where they use the SDK at all. The model is a canned reply
inside the process; a tool's results differ from call to call. `thread` is CPU time of the caller's
thread, `wall` how long the caller waited, `cpu` the process's CPU time until everything has been exported.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

ROW = {"order_id": "A-00001", "status": "shipped", "city": "Seattle", "total": 12.5, "items": [1, 2], "ok": True}
RESULTS = [
    {"rows": [{**ROW, "order_id": f"A-{k:03d}{n:02d}", "total": 12.5 * n + k} for n in range(20)]} for k in range(500)
]
ROWS = RESULTS[0]
next_result = itertools.cycle(RESULTS).__next__
MESSAGES = [
    {"role": "system", "content": "You answer questions about orders. " * 40},
    {"role": "user", "content": "where is order A-00001?"},
]
REPLY = {
    "id": "r", "object": "chat.completion", "created": 1, "model": "gpt-5",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "On its way. " * 20}}],
    "usage": {"prompt_tokens": 300, "completion_tokens": 60, "total_tokens": 360},
}  # fmt: skip


class Nowhere(SpanExporter):
    """Keeps nothing."""

    seen = 0

    def export(self, spans: Any) -> SpanExportResult:
        """Count."""
        Nowhere.seen += len(spans)
        return SpanExportResult.SUCCESS


def provider() -> TracerProvider:
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=20_000))
    trace.set_tracer_provider(made)
    return made


def look_up(order_id: str) -> Any:  # noqa: ARG001 - a tool that costs nothing
    return next_result()


def look_up_small(order_id: str) -> Any:
    return {"order": order_id}


def client() -> Any:
    import httpx2  # noqa: PLC0415 - what the client stands on
    import openai  # noqa: PLC0415 - only where it is installed

    body = json.dumps(REPLY).encode()
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, content=body, headers={"content-type": "application/json"})
    )
    return openai.OpenAI(
        base_url="http://model/v1", api_key="k", max_retries=0, http_client=httpx2.Client(transport=transport)
    )


def chat(model_client: Any) -> Callable[[], Any]:
    return lambda: model_client.chat.completions.create(model="gpt-5", messages=MESSAGES)


class Instrumentation:
    """What is compared: `tools` by name, `on` and `off` around the chat call, and a flush."""

    def __init__(self) -> None:
        self.tools: dict[str, Callable[[], Any]] = {}
        self.on: Callable[[], object] | None = None
        self.off: Callable[[], object] | None = None
        self.flush: Callable[[], object] = lambda: None
        self.before_tools: Callable[[], object] = lambda: None
        self.on_tools: Callable[[], object] = lambda: None
        self.off_tools: Callable[[], object] = lambda: None

    def wrap(self, decorate: Callable[[Any], Any]) -> None:
        """Have copies of the tools instrumented by a decorator."""
        small, rows = (decorate(FunctionType(f.__code__, globals(), f.__name__)) for f in (look_up_small, look_up))
        self.tools = {"tool, small": lambda: small("A-1"), "tool, 20 rows": lambda: rows("A-1")}


def ours(it: Instrumentation) -> None:
    import otel_perfopt  # noqa: PLC0415 - one instrumentation a process

    made = provider()
    home = tempfile.mkdtemp()
    it.on = lambda: otel_perfopt.instrument(home=home, tracer_provider=made, discover_tools=False)
    it.off = otel_perfopt.uninstrument
    it.before_tools = lambda: it.wrap(otel_perfopt.tool)
    it.on_tools, it.off_tools = it.on, it.off
    it.flush = made.force_flush


def openinference(it: Instrumentation) -> None:
    from openinference.instrumentation import OITracer, TraceConfig  # noqa: PLC0415 - as above
    from openinference.instrumentation.openai import OpenAIInstrumentor  # noqa: PLC0415 - as above

    made = provider()
    instrumentor = OpenAIInstrumentor()
    it.on, it.off = lambda: instrumentor.instrument(tracer_provider=made), instrumentor.uninstrument
    it.wrap(OITracer(made.get_tracer("bench"), config=TraceConfig()).tool)
    it.flush = made.force_flush


def openllmetry(it: Instrumentation) -> None:
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor  # noqa: PLC0415 - as above

    made = provider()
    instrumentor = OpenAIInstrumentor()
    it.on, it.off = lambda: instrumentor.instrument(tracer_provider=made), instrumentor.uninstrument
    it.flush = made.force_flush

    def set_up() -> None:
        from traceloop.sdk import Traceloop  # noqa: PLC0415 - as above
        from traceloop.sdk.decorators import tool  # noqa: PLC0415 - as above

        os.environ["TRACELOOP_TELEMETRY"] = "false"
        Traceloop.init(
            app_name="bench", processor=BatchSpanProcessor(Nowhere(), max_queue_size=20_000), instruments=set(),
            telemetry_enabled=False, traceloop_sync_enabled=False, api_key="k",
        )  # fmt: skip
        it.wrap(tool(name="look_up"))

    it.before_tools = set_up


def official(it: Instrumentation) -> None:
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor  # noqa: PLC0415 - as above
    from opentelemetry.util.genai.handler import get_telemetry_handler  # noqa: PLC0415 - as above

    made = provider()
    instrumentor = OpenAIInstrumentor()
    it.on, it.off = lambda: instrumentor.instrument(tracer_provider=made), instrumentor.uninstrument
    handler = get_telemetry_handler(tracer_provider=made)

    def decorate(function: Any) -> Any:
        def call(order_id: str) -> Any:
            with handler.tool("look_up"):
                return function(order_id)

        return call

    it.wrap(decorate)
    it.flush = made.force_flush


def logfire(it: Instrumentation) -> None:
    import logfire as library  # noqa: PLC0415 - as above

    library.configure(
        send_to_logfire=False, console=False, metrics=False,
        additional_span_processors=[BatchSpanProcessor(Nowhere(), max_queue_size=20_000)],
    )  # fmt: skip
    undo: list[Any] = []

    def on() -> None:
        undo.append(library.instrument_openai())
        undo[-1].__enter__()

    it.on = on
    it.off = lambda: undo.pop().__exit__(None, None, None)
    it.wrap(library.instrument("look_up", record_return=True))
    it.flush = library.force_flush


def relay() -> tuple[dict[str, Pair], Callable[[], object]]:
    """NeMo Relay is asynchronous: one event loop makes the calls of a block, plain and through its pipeline."""
    import nemo_relay as library  # noqa: PLC0415 - as above

    request = library.LLMRequest({}, {"model": "gpt-5", "messages": MESSAGES})

    def small(_args: Any) -> Any:
        return library.ToolExecutionResult({"order": "A-1"})

    def rows(_args: Any) -> Any:
        return library.ToolExecutionResult(next_result())

    def looped(call: Callable[[], Any]) -> Callable[[int], None]:
        async def loop(count: int) -> None:
            for _ in range(count):
                await call()

        return lambda count: asyncio.run(loop(count))

    def tool(run: Callable[[Any], Any]) -> Pair:
        async def plain() -> Any:
            return run({"order_id": "A-1"})

        return Pair(looped(plain), looped(lambda: library.tools.execute("look_up", {"order_id": "A-1"}, run)))

    async def none() -> Any:
        return REPLY

    chat_pair = Pair(
        looped(none), looped(lambda: library.llm.execute("openai", request, lambda _: REPLY, model_name="gpt-5"))
    )
    return {"chat": chat_pair, "tool, small": tool(small), "tool, 20 rows": tool(rows)}, lambda: None


CALLS = {"chat": 15, "tool, small": 60, "tool, 20 rows": 60}
KNOWN = {
    "ours": ours, "openinference": openinference, "openllmetry": openllmetry, "official": official, "logfire": logfire
}  # fmt: skip


class Pair(NamedTuple):
    """The same calls, plain and instrumented, each as a loop; `on` and `off` around the instrumented block."""

    plain: Callable[[int], None]
    under: Callable[[int], None]
    on: Callable[[], object] = lambda: None
    off: Callable[[], object] = lambda: None


def repeated(call: Callable[[], Any]) -> Callable[[int], None]:
    def loop(count: int) -> None:
        for _ in range(count):
            call()

    return loop


def pairs(name: str) -> tuple[dict[str, Pair], Callable[[], object]]:
    """Return the calls compared, and how to have everything exported."""
    if name == "relay":
        return relay()
    it = Instrumentation()
    KNOWN[name](it)
    call = repeated(chat(client()))
    found = {"chat": Pair(call, call, it.on or (lambda: None), it.off or (lambda: None))}
    it.before_tools()
    plain = {"tool, small": lambda: look_up_small("A-1"), "tool, 20 rows": lambda: look_up("A-1")}
    for tool, under in it.tools.items():
        found[tool] = Pair(repeated(plain[tool]), repeated(under), it.on_tools, it.off_tools)
    return found, it.flush


def block(loop: Callable[[int], None], count: int, flush: Callable[[], object]) -> dict[str, float]:
    """Return microseconds a call."""
    loop(2)
    flush()
    gc.collect()
    cpu, wall, began = time.process_time_ns(), time.perf_counter_ns(), time.thread_time_ns()
    loop(count)
    taken = {"thread": time.thread_time_ns() - began, "wall": time.perf_counter_ns() - wall}
    flush()
    taken["cpu"] = time.process_time_ns() - cpu
    return {kind: ns / count / 1000 for kind, ns in taken.items()}


def one_round(found: dict[str, Pair], flush: Callable[[], object], chance: random.Random) -> dict[str, Any]:
    """Return what was added to a call, by call and kind of time, and what the plain call took on its thread."""
    added = {}
    for name, pair in found.items():
        taken = {}
        for instrumented in chance.sample((False, True), 2):
            if instrumented:
                pair.on()
            taken[instrumented] = block(pair.under if instrumented else pair.plain, CALLS[name], flush)
            if instrumented:
                pair.off()
        added[name] = {kind: taken[True][kind] - taken[False][kind] for kind in taken[True]}
        added[name]["plain"] = taken[False]["thread"]
    return added


def main() -> None:
    out = os.fdopen(os.dup(1), "w")  # some print what they think, where the rounds' figures go
    os.dup2(2, 1)
    found, flush = pairs(sys.argv[1])
    chance = random.Random(1)
    gc.collect()
    gc.freeze()
    for _ in sys.stdin:
        print(json.dumps(one_round(found, flush, chance)), file=out, flush=True)


if __name__ == "__main__":
    main()
