"""What the tests of the instrumentation stand on: spans in memory, and a model that answers over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_perfopt.signal.emit import discovery, implicit, model_calls, tool_calls, tools, tracing
from otel_perfopt.signal.emit.faults import faults
from otel_perfopt.signal.frameworks import openai_chat

MODEL = "test-model"


class Recorded:
    """Finished spans, by name and by kind."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def all(self) -> list[ReadableSpan]:
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time)

    def of_kind(self, kind: str) -> list[ReadableSpan]:
        return [span for span in self.all if span.attributes.get("perfopt.step.kind") == kind]

    def one(self, name: str) -> ReadableSpan:
        found = [span for span in self.all if span.name == name]
        assert len(found) == 1, [span.name for span in self.all]
        return found[0]


@pytest.fixture
def spans() -> Iterator[Recorded]:
    """Spans made by our tracer, in memory."""
    recorded = Recorded()
    tracing.use_provider(recorded.provider)
    yield recorded
    tracing.use_provider(None)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Every test begins without tools, open commands, interceptors or counted faults, and ends without faults of ours."""
    faults.clear()
    tools.forget_all()
    implicit.use(implicit.ImplicitCommands())
    model_calls.forget_conversations()
    yield
    tool_calls.set_interceptor(None)
    discovery.stop()
    implicit.commands().close_all()


@pytest.fixture
def no_faults() -> Iterator[None]:
    """Asserts at the end that nothing of ours went wrong on the way."""
    yield
    assert not faults


class ModelHandler(BaseHTTPRequestHandler):
    """A small OpenAI-compatible model: asks for the tools that the last user message names, then answers."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(body)
        if "fail" in str(body["messages"][-1].get("content")):
            self._send(400, "application/json", json.dumps({"error": {"message": "no", "type": "bad"}}))
            return
        message = answer(body)
        if body.get("stream"):
            self._send(200, "text/event-stream", stream_of(message, body))
        else:
            self._send(200, "application/json", json.dumps(completion_of(message, body)))

    def _send(self, status: int, kind: str, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """`call name {"a": 1}; name {}` in the last user message asks for those tools; anything else is answered."""
    messages = body["messages"]
    last = messages[-1]
    if last["role"] == "user" and "call " in last["content"] and body.get("tools"):
        asked = last["content"].split("call ", 1)[1].split("; ")
        calls = [
            {
                "id": f"call_{abs(hash(json.dumps(messages)))}_{position}",
                "type": "function",
                "function": {"name": item.partition(" ")[0], "arguments": item.partition(" ")[2] or "{}"},
            }
            for position, item in enumerate(asked)
        ]
        return {"role": "assistant", "content": None, "tool_calls": calls}
    return {"role": "assistant", "content": f"answer {len(messages)}"}


def usage_of(body: dict[str, Any]) -> dict[str, Any]:
    tokens = sum(len(json.dumps(message)) for message in body["messages"]) // 4
    return {
        "prompt_tokens": tokens,
        "completion_tokens": 7,
        "total_tokens": tokens + 7,
        "prompt_tokens_details": {"cached_tokens": tokens // 2},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }


def completion_of(message: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    return {
        "id": "reply-1",
        "object": "chat.completion",
        "created": 1,
        "model": f"{body['model']}-1",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": usage_of(body),
    }


def stream_of(message: dict[str, Any], body: dict[str, Any]) -> str:
    deltas: list[dict[str, Any]] = [
        {"role": "assistant"},
        {"reasoning_content": "let me"},
        {"reasoning_content": "think"},
    ]
    for position, call in enumerate(message.get("tool_calls") or ()):
        text = call["function"]["arguments"]
        head = {"name": call["function"]["name"], "arguments": ""}
        deltas.append({"tool_calls": [{"index": position, "id": call["id"], "type": "function", "function": head}]})
        deltas.extend(
            {"tool_calls": [{"index": position, "function": {"arguments": part}}]} for part in (text[:3], text[3:])
        )
    deltas.extend({"content": part} for part in (message["content"] or "").split())
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    chunk = {"id": "reply-1", "object": "chat.completion.chunk", "created": 1, "model": f"{body['model']}-1"}
    chunks = [{**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**chunk, "choices": [], "usage": usage_of(body)})
    return "".join(f"data: {json.dumps(item)}\n\n" for item in chunks) + "data: [DONE]\n\n"


class ModelServer(ThreadingHTTPServer):
    """Takes many connections at once."""

    request_queue_size = 128
    daemon_threads = True


@pytest.fixture(scope="session")
def model_server() -> Iterator[ThreadingHTTPServer]:
    """The small model, on a port of its own; `requests` holds what it was sent."""
    server = ModelServer(("127.0.0.1", 0), ModelHandler)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def model_url(model_server: ThreadingHTTPServer) -> str:
    """Where the small model is."""
    return f"http://127.0.0.1:{model_server.server_port}/v1"


@pytest.fixture
def watched_client() -> Iterator[None]:
    """The official client with its chat completions taken over."""
    openai_completions = pytest.importorskip("openai.resources.chat.completions.completions")
    done = openai_chat.instrument_module(openai_completions)
    assert len(done) == 4
    yield
    for interception in reversed(done):
        interception.undo()


@pytest.fixture
def openai_client(model_url: str, watched_client: None) -> Iterator[Any]:
    """A real client of the small model."""
    with openai.OpenAI(base_url=model_url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def async_client(model_url: str, watched_client: None) -> Any:
    """A real asynchronous client of the small model; close it in the test."""
    return openai.AsyncOpenAI(base_url=model_url, api_key="none", max_retries=0)


def schema(*names: str) -> list[dict[str, Any]]:
    """Tool descriptions as a request carries them."""
    return [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in names]
