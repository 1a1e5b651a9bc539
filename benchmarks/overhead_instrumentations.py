"""One tool call and one chat call under one instrumentation: its name in, JSON of microseconds over the plain call out.

    python benchmarks/overhead_instrumentations.py ours|openinference|openllmetry|official|logfire|relay [ROUNDS [CALLS]]

`benchmarks/overhead.py` runs it once in each instrumentation's own environment. In every round the
same calls are made plain and instrumented, in changing order, so that differences are paired. All
export through the SDK's batch processor to an exporter that keeps nothing, where they use the SDK at
all. The model is a canned reply inside the process. Waiting is what the caller's thread took; all CPU
includes background threads, until everything has been exported.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from types import FunctionType
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

ROW = {"order_id": "A-00001", "status": "shipped", "city": "Seattle", "total": 12.5, "items": [1, 2], "ok": True}
ROWS = {"rows": [{**ROW, "order_id": f"A-{n:05d}", "total": 12.5 * n} for n in range(20)]}
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
    return ROWS


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
    it.before_tools = lambda: (it.on and it.on(), it.wrap(otel_perfopt.tool))
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


def relay() -> dict[str, Any]:  # noqa: C901 - one asynchronous library, in one place
    """NeMo Relay is asynchronous: one event loop makes the calls of a round, plain and through its pipeline."""
    import nemo_relay as library  # noqa: PLC0415 - as above

    # Arguments are theirs by position of the name; results are wrapped in their type.
    def made(result: Any) -> Callable[[Any], Any]:
        return lambda _args: library.ToolExecutionResult(result)

    async def plain(result: Any) -> Any:
        return made(result)({"order_id": "A-1"})

    def calls(result: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
        run = made(result)
        return lambda: plain(result), lambda: library.tools.execute("look_up", {"order_id": "A-1"}, run)

    found = {}
    for name, result in (("tool, small", {"order": "A-1"}), ("tool, 20 rows", ROWS)):
        without, under = calls(result)

        def looped(call: Callable[[], Any]) -> Callable[[int], None]:
            async def loop(count: int) -> None:
                for _ in range(count):
                    await call()

            return lambda count: asyncio.run(loop(count))

        found[name] = paired(looped(without), looped(under), lambda: None)
    request = library.LLMRequest({}, {"model": "gpt-5", "messages": MESSAGES})

    async def llm(count: int) -> None:
        for _ in range(count):
            await library.llm.execute("openai", request, lambda _: REPLY, model_name="gpt-5")

    async def none(count: int) -> None:
        for _ in range(count):
            await plain(REPLY)

    found["chat"] = paired(lambda n: asyncio.run(none(n)), lambda n: asyncio.run(llm(n)), lambda: None)
    return found


ROUNDS, CALLS = 30, 100
KNOWN = {
    "ours": ours, "openinference": openinference, "openllmetry": openllmetry, "official": official, "logfire": logfire
}  # fmt: skip


def repeated(call: Callable[[], Any]) -> Callable[[int], None]:
    def loop(count: int) -> None:
        for _ in range(count):
            call()

    return loop


def paired(
    plain: Callable[[int], None],
    under: Callable[[int], None],
    flush: Callable[[], object],
    on: Callable[[], object] | None = None,
    off: Callable[[], object] | None = None,
) -> dict[str, list[float]]:
    """Return microseconds a call, one value a round: `plain`, what was `added` on the caller's thread, and to the `cpu` of all."""
    found: dict[str, list[float]] = {"plain": [], "added": [], "cpu": []}
    chance = random.Random(1)
    for round_ in range(-2, ROUNDS):
        taken = {}
        for instrumented in chance.sample((False, True), 2):
            if instrumented and on is not None:
                on()
            loop = under if instrumented else plain
            loop(2)
            flush()
            cpu, began = time.process_time_ns(), time.thread_time_ns()
            loop(CALLS)
            waited = time.thread_time_ns() - began
            flush()
            taken[instrumented] = (waited / CALLS / 1000, (time.process_time_ns() - cpu) / CALLS / 1000)
            if instrumented and off is not None:
                off()
        if round_ >= 0:  # the first ones warm up
            found["plain"].append(taken[False][0])
            found["added"].append(taken[True][0] - taken[False][0])
            found["cpu"].append(taken[True][1] - taken[False][1])
    return found


def measured(name: str) -> dict[str, Any]:
    it = Instrumentation()
    KNOWN[name](it)
    found: dict[str, Any] = {}
    plain = {"tool, small": lambda: look_up_small("A-1"), "tool, 20 rows": lambda: look_up("A-1")}
    call = chat(client())
    found["chat"] = paired(repeated(call), repeated(call), it.flush, it.on, it.off)
    it.before_tools()
    for tool, under in it.tools.items():
        found[tool] = paired(repeated(plain[tool]), repeated(under), it.flush)
    found["exported"] = Nowhere.seen
    return found


if __name__ == "__main__":
    if len(sys.argv) > 2:
        ROUNDS = int(sys.argv[2])
    if len(sys.argv) > 3:
        CALLS = int(sys.argv[3])
    print(json.dumps(relay() if sys.argv[1] == "relay" else measured(sys.argv[1])))
