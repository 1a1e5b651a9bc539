"""An unchanged agent on the official client: instrumented, governed by a snapshot file, compared with itself without."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest
from governed import decision, snapshot
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.instrumentor import PerfoptInstrumentor
from otel_perfopt.settings import AgentSettings
from otel_perfopt.signal.emit.faults import faults
from otel_perfopt.signal.emit.tools import forget, known_tool

EFFECTS = ("find_*=read", "save_*=write")
ROUNDS = (
    [("find_price", {"sku": "a"}), ("find_price", {"sku": "b"}), ("find_stock", {"sku": "a"})],
    [("save_price", {"sku": "a", "cents": 7}), ("find_price", {"sku": "a"}), ("find_price", {"sku": "b"})],
    [("find_price", {"sku": "a"})],
)
STEP_S = 0.05

prices: dict[str, int] = {}
made: list[str] = []


def shop_answers():
    time.sleep(STEP_S)


def closed_shop():
    raise OSError("shop is closed")


def find_price(sku: str, currency: str = "EUR"):
    made.append(f"find_price {sku}")
    shop_answers()
    return {"sku": sku, "cents": prices.get(sku, 1), "currency": currency}


def find_stock(sku: str):
    made.append(f"find_stock {sku}")
    shop_answers()
    return {"sku": sku, "stock": 3}


def save_price(sku: str, cents: int):
    made.append(f"save_price {sku}")
    prices[sku] = cents
    return {"saved": sku}


TOOLS = {"find_price": find_price, "find_stock": find_stock, "save_price": save_price}
SCHEMAS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in TOOLS]


def agent(client: openai.OpenAI, conversation: str) -> list[object]:
    """The loop that everybody writes."""
    messages: list[dict] = [{"role": "user", "content": "/task set the price"}]
    results: list[object] = []
    while True:
        reply = client.chat.completions.create(
            model="m", messages=messages, tools=SCHEMAS, metadata={"session_id": conversation}
        )
        message = reply.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if not message.tool_calls:
            return results
        for call in message.tool_calls:
            result = TOOLS[call.function.name](**json.loads(call.function.arguments))
            results.append(result)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})


class Model(BaseHTTPRequestHandler):
    """Asks for the next round's tools, then says that it is done."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        message: dict = {"role": "assistant", "content": "done"}
        if turn < len(ROUNDS):
            calls = [
                {
                    "id": f"c{turn}-{i}",
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(arguments)},
                }
                for i, (name, arguments) in enumerate(ROUNDS[turn])
            ]
            message = {"role": "assistant", "content": None, "tool_calls": calls}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if turn < len(ROUNDS) else "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        data = json.dumps(
            {"id": "r", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with openai.OpenAI(
        base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none", max_retries=0
    ) as made_client:
        yield made_client
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def governed(tmp_path, monkeypatch):
    """Runs the agent under decisions; gives its results, the tools made and its spans."""

    def run(client: openai.OpenAI, *decisions, times: int = 1):
        exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        (tmp_path / "snapshot.json").write_text(snapshot(*decisions).to_json())
        instrumentor = PerfoptInstrumentor()
        instrumentor.instrument(settings=AgentSettings(home=tmp_path, effects=EFFECTS), tracer_provider=provider)
        prices.clear()
        made.clear()
        try:
            results = [agent(client, "conversation-1") for _ in range(times)]
        finally:
            instrumentor.uninstrument()
            # Instrumented again in this process, the tools are to be found again.
            for tool in map(known_tool, TOOLS):
                if tool is not None:
                    forget(tool)
        return results, list(made), exporter.get_finished_spans()

    return run


def commands(spans):
    return [span for span in spans if span.attributes.get("perfopt.step.kind") == "command"]


def tools(spans):
    return [span for span in spans if span.attributes.get("perfopt.step.kind") == "tool"]


def test_both_optimizations_on_an_unchanged_agent(client, governed):
    """Same answers, fewer and overlapping calls, writes in order, and every saving on the command's span."""
    faults.clear()
    prices.clear()
    made.clear()
    plain = agent(client, "conversation-1")
    plain_made = list(made)
    cache, parallel = decision("tool_cache", effects={}), decision("parallel_tools", effects={})
    results, really_made, spans = governed(client, cache, parallel)
    assert results == [plain]
    assert sorted(set(really_made)) == sorted(set(plain_made))
    assert len(really_made) == len(plain_made) - 1
    (command,) = commands(spans)
    prefix = "perfopt.policy."
    assert command.attributes[prefix + "tool-cache-policy.arm"] == "treatment"
    assert command.attributes[prefix + "tool-cache-policy.hits"] == 1
    assert command.attributes[prefix + "parallel-tools-policy.claimed"] == 5
    assert command.attributes[prefix + "parallel-tools-policy.wasted"] == 0
    assert command.attributes[prefix + "parallel-tools-policy.saved_ns"] > 2 * STEP_S * 1e9
    called = tools(spans)
    assert len(called) == len(plain_made)
    assert [span.attributes["gen_ai.tool.name"] for span in called if span.attributes.get("perfopt.cache.hit")] == [
        "find_price"
    ]
    early = [span for span in called if span.attributes.get("perfopt.speculative")]
    assert len(early) == 5
    assert {span.context.trace_id for span in early} == {command.context.trace_id}
    assert all(span.attributes["gen_ai.tool.call.id"].startswith("c") for span in early)
    assert not faults


def test_baseline_is_stamped_and_otherwise_plain(client, governed):
    """The other arm of the comparison: enrolled by the same calls, nothing kept, nothing early."""
    nobody = Allocation(baseline=1.0)
    cache = decision("tool_cache", effects={}, allocation=nobody)
    parallel = decision("parallel_tools", effects={}, allocation=nobody)
    results, really_made, spans = governed(client, cache, parallel, times=2)
    assert len(really_made) == 14
    assert results[0][0] == {"sku": "a", "cents": 1, "currency": "EUR"}
    assert len(tools(spans)) == 14
    for command in commands(spans):
        assert command.attributes["perfopt.policy.tool-cache-policy.arm"] == "baseline"
        assert command.attributes["perfopt.policy.parallel-tools-policy.arm"] == "baseline"
    assert not [span for span in tools(spans) if span.attributes.get("perfopt.speculative")]


def test_a_tool_that_raises_raises_the_same(client, governed, monkeypatch):
    """The agent's own handling of a tool's exception is what it was."""
    cache, parallel = decision("tool_cache", effects={}), decision("parallel_tools", effects={})
    monkeypatch.setattr(f"{__name__}.shop_answers", closed_shop)
    with pytest.raises(OSError, match="shop is closed"):
        governed(client, cache, parallel)
