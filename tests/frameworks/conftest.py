"""What the tests of real libraries stand on: spans in memory, and a provider that replays what it was told over real HTTP."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import json
import tarfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_perfopt.signal.emit import discovery, implicit, model_calls, tool_calls, tracing
from otel_perfopt.signal.emit.faults import faults
from otel_perfopt.signal.emit.processor import PerfoptSpanProcessor
from otel_perfopt.signal.emit.tools import _tools
from otel_perfopt.signal.frameworks.framework_tool import release_framework_tools


class Recorded:
    """Finished spans, by name and by kind."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(PerfoptSpanProcessor())
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

    def tree(self) -> list[tuple[str, str | None]]:
        """Each span's name with its parent's; without thinking that is only estimated."""
        names = {span.context.span_id: span.name for span in self.all}
        return [
            (span.name, names.get(span.parent.span_id) if span.parent else None)
            for span in self.all
            if not span.attributes.get("perfopt.duration.estimated")
        ]


@pytest.fixture
def spans() -> Iterator[Recorded]:
    """Spans made by our tracer, in memory."""
    recorded = Recorded()
    tracing.use_provider(recorded.provider)
    yield recorded
    tracing.use_provider(None)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Every test begins without open commands, interceptors or counted faults, and ends without faults of ours."""
    faults.clear()
    implicit.use(implicit.ImplicitCommands())
    model_calls.forget_conversations()
    yield
    tool_calls.set_interceptor(None)
    discovery.stop()
    implicit.commands().close_all()
    _tools.clear()
    assert not faults


@dataclass
class Answer:
    """What the provider answers one request with; `events` are sent one by one, `pause_s` after each."""

    body: bytes = b""
    kind: str = "application/json"
    status: int = 200
    events: list[bytes] = field(default_factory=list)
    pause_s: float = 0.0


def json_answer(value: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(value).encode(), status=status)


def event_answer(events: list[dict[str, Any]], pause_s: float = 0.0) -> Answer:
    """Server-sent events, each named by its type, as both providers send them."""
    lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
    return Answer(kind="text/event-stream", events=lines, pause_s=pause_s)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append((self.path, body))
        answer = self.server.answers.popleft()
        data = answer.body or b"".join(answer.events)
        self.send_response(answer.status)
        self.send_header("content-type", answer.kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client that has heard enough
            for part in answer.events or [data]:
                self.wfile.write(part)
                self.wfile.flush()
                time.sleep(answer.pause_s)


class Provider(ThreadingHTTPServer):
    """Answers requests in order with what it was given; `requests` holds what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: deque[Answer] = deque()
        self.requests: list[tuple[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def play(self, *answers: Answer) -> None:
        self.answers.extend(answers)


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider on a port of its own."""
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


@dataclass(frozen=True)
class Cassette:
    """One recorded exchange with a provider."""

    path: str
    request: Any
    answer: Answer


@pytest.fixture(scope="session")
def cassettes(shared_data: Path) -> Any:
    """Return the recorded exchanges of a file whose path ends as given."""

    def find(archive: str, ending: str) -> list[Cassette]:
        file = shared_data / "cassettes" / archive
        if not file.exists():
            pytest.skip(f"no recorded replies at {file}")
        with tarfile.open(file) as packed:
            name = next(name for name in packed.getnames() if name.endswith(ending))
            recorded = yaml.safe_load(packed.extractfile(name).read())
        return [_exchange(item) for item in recorded["interactions"]]

    return find


def _exchange(item: dict[str, Any]) -> Cassette:
    body = item["response"]["body"]["string"]
    data = body.encode() if isinstance(body, str) else body
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    headers = {name.lower(): values for name, values in item["response"]["headers"].items()}
    sent = item["request"]["body"]
    answer = Answer(data, headers["content-type"][0], item["response"]["status"]["code"])
    return Cassette(item["request"]["uri"], json.loads(sent) if sent else None, answer)


@pytest.fixture(scope="session")
def model_url() -> Iterator[str]:
    """A model that asks for the tools its user names (`call lookup {"key": 1}; store {}`), then answers."""
    from tests.instrument.conftest import ModelHandler, ModelServer  # noqa: PLC0415 - it needs the openai package

    class Closing(ModelHandler):
        # Frameworks keep clients that nobody can close once their event loop is gone: keep no connection.
        protocol_version = "HTTP/1.0"

    server = ModelServer(("127.0.0.1", 0), Closing)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def instrumented(spans: Recorded) -> Iterator[Any]:
    """Call it with integrations: their modules, imported here, are taken over until the test ends."""
    done: list[Any] = []

    def take(*integrations: Any) -> None:
        for integration in integrations:
            for name in integration.MODULES:
                try:
                    module = importlib.import_module(name)
                except ImportError:
                    continue
                done.extend(integration.instrument_module(module))

    yield take
    for interception in reversed(done):
        interception.undo()
    release_framework_tools()


class Watching:
    """An interceptor that lets every call through and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.replies: list[list[tuple[str, Any]]] = []
        self.known: list[str] = []

    def around_tool(self, call: Any, execute: Any) -> Any:
        self.calls.append(call)
        return execute(call)

    async def around_tool_async(self, call: Any, execute: Any) -> Any:
        self.calls.append(call)
        return await execute(call)

    def on_reply(self, run: Any, requests: Any, functions: Any) -> None:
        self.replies.append([(request.name, dict(request.arguments)) for request in requests])
        self.known = sorted(functions)


@pytest.fixture
def watching() -> Watching:
    """Such an interceptor, in force."""
    interceptor = Watching()
    tool_calls.set_interceptor(interceptor)
    return interceptor


@pytest.fixture
def governed(spans: Recorded) -> Iterator[Any]:
    """Call it with decisions: real clients' calls go through a runtime that follows them."""
    from otel_perfopt.act.runtime import Runtime  # noqa: PLC0415 - only these tests need the runtime
    from otel_perfopt.act.snapshot_source import FixedSource, in_force_of  # noqa: PLC0415
    from otel_perfopt.decide.decision import Snapshot  # noqa: PLC0415
    from otel_perfopt.signal.emit import inference_calls  # noqa: PLC0415
    from otel_perfopt.signal.frameworks import anthropic_messages, openai_chat, openai_responses  # noqa: PLC0415

    runtimes: list[Any] = []
    done: list[Any] = []
    for integration in (anthropic_messages, openai_chat, openai_responses):
        for name in integration.MODULES:
            with contextlib.suppress(ImportError):
                done.extend(integration.instrument_module(importlib.import_module(name)))

    def follow(*decisions: Any) -> Any:
        snapshot = Snapshot(1, time.time_ns(), 600, decisions=decisions)
        if runtimes:
            # The controller has published anew.
            runtimes[0]._source.in_force = in_force_of(snapshot)
        else:
            runtimes.append(Runtime(FixedSource(snapshot)))
            inference_calls.set_inference_interceptor(runtimes[0].inference)
        return runtimes[0]

    yield follow
    inference_calls.set_inference_interceptor(None)
    for interception in reversed(done):
        interception.undo()
    for runtime in runtimes:
        runtime.close()


@pytest.fixture
def gpt(provider: Provider) -> Iterator[Any]:
    """A real client of OpenAI's, talking to the provider."""
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=provider.url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(provider: Provider) -> Iterator[Any]:
    """A real client of Anthropic's, talking to the provider."""
    anthropic = pytest.importorskip("anthropic")
    with anthropic.Anthropic(base_url=provider.url, api_key="none", max_retries=0, open_telemetry=False) as client:
        yield client
