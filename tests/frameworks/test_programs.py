"""Whole programs on real frameworks, unmodified, against the example's model server: plain, and under `opentelemetry-instrument`."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parents[1] / "examples"))

from support.launch import running_backends  # noqa: E402 - the path has to be set first

PROGRAMS = {"langgraph": ("langchain", "langgraph", "langchain_openai"), "openai_agents": ("agents",), "mcp": ("mcp",)}


@pytest.fixture(scope="module")
def backends(tmp_path_factory):
    """The example's model server and shop."""
    with running_backends(tmp_path_factory.mktemp("backends"), back_office=False) as env:
        yield env


class Receiver(BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/v1/traces":
            self.server.requests.append(request)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()


@pytest.fixture(scope="module")
def receiver():
    """A real OTLP receiver over HTTP; `requests` holds what was exported to it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def value_of(value):
    kind = value.WhichOneof("value")
    return [value_of(item) for item in value.array_value.values] if kind == "array_value" else getattr(value, kind)


def spans_of(receiver):
    found = []
    for request in receiver.requests:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    said = {item.key: value_of(item.value) for item in span.attributes}
                    found.append((span, said))
    return sorted(found, key=lambda item: item[0].start_time_unix_nano)


def run(command, env, folder):
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=PROGRAMS)
def finished(request, backends, receiver, tmp_path_factory):
    """A program's results without and with instrumentation, and the spans it exported."""
    for package in PROGRAMS[request.param]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    instrument = Path(sys.executable).parent / "opentelemetry-instrument"
    if not instrument.exists():
        pytest.skip("opentelemetry-instrument is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    receiver.requests.clear()
    program = str(FOLDER / "programs" / f"{request.param}_program.py")
    plain = {**os.environ, **backends, "OTEL_SDK_DISABLED": "true", "LANGSMITH_TRACING": "false"}
    before = run([sys.executable, program], plain, folder)
    watched = {
        **plain,
        "OTEL_SDK_DISABLED": "false",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.server_port}",
        "OTEL_SERVICE_NAME": request.param,
        "PERFOPT_HOME": str(folder / "home"),
    }
    after = run([str(instrument), sys.executable, program], watched, folder)
    return request.param, before, after, spans_of(receiver)


def _settled(results):
    """Of two tools that run at once and both refuse an unknown order, either may be the one that is heard."""
    refusals = ("no order O-9999", "/shipping/O-9999: unknown to the shop service")
    return [["NotFoundError", refusals] if item and item[-1] in refusals else item for item in results]


def test_results_are_the_same_and_spans_are_whole(finished):
    """Same answers, messages, errors and order with and without; commands hold chats, thinking and tools, well nested."""
    name, before, after, spans = finished
    assert _settled(after) == _settled(before)
    by_id = {span.span_id: (span, said) for span, said in spans}
    kinds: dict[str, list] = {}
    for span, said in spans:
        kinds.setdefault(said.get("perfopt.step.kind", ""), []).append((span, said))
    asked = 5 if name == "openai_agents" else 4
    assert [span.name for span, _ in kinds["command"]] == ["/query"] * asked
    assert len({span.trace_id for span, _ in kinds["command"]}) == asked
    for kind, parent_kinds in (("inference", {"command"}), ("tool", {"command"}), ("thinking", {"inference"})):
        assert kinds[kind], kind
        for span, _ in kinds[kind]:
            parent, parent_said = by_id[span.parent_span_id]
            assert parent_said["perfopt.step.kind"] in parent_kinds
            assert parent.start_time_unix_nano <= span.start_time_unix_nano
            assert span.end_time_unix_nano <= parent.end_time_unix_nano
            assert span.trace_id == parent.trace_id
    assert any("perfopt.duration.estimated" not in said for _, said in kinds["thinking"])
    for _, said in kinds["inference"]:
        assert said["gen_ai.usage.input_tokens"] > said["gen_ai.usage.reasoning.output_tokens"] > 0
    inferences = {span.span_id.hex() for span, _ in kinds["inference"]}
    for _, said in kinds["tool"]:
        assert said["perfopt.requested_by"] in inferences
        assert said["gen_ai.tool.call.id"].startswith("call_")
        assert "perfopt.tool.result.digest" in said or "error.type" in said
    if name == "mcp":
        assert {said["perfopt.tool.effects"] for _, said in kinds["tool"]} == {"read"}
    # Nothing of what was said is in the telemetry.
    assert "Carlisle" not in str([said for _, said in spans])


def test_each_call_is_there_once(finished):
    """As many chats and tool calls as the program itself counts: no layer reports one twice, none is lost."""
    name, _, after, spans = finished
    ended = {span.trace_id for span, said in spans if said.get("perfopt.command.outcome") == "completed"}
    kinds = [said.get("perfopt.step.kind") for span, said in spans if span.trace_id in ended]
    runs = [after[0], *after[1], after[2]]
    if name == "langgraph":
        messages = [message for run in runs if run[0] != "NotFoundError" for message in run]
        chats = sum(kind == "ai" for kind, _, _ in messages)
        tools = sum(kind == "tool" for kind, _, _ in messages)
        assert kinds.count("command") == 3
    elif name == "openai_agents":
        tools = sum(kind == "tool_call_output_item" for run in runs for kind, _ in run[1])
        chats = sum(replies(run[1]) for run in runs)
        assert kinds.count("command") == 4
    else:
        tools = sum(bool(text) for _, texts in runs for text in texts)
        chats = sum(1 + sum(not text for text in texts) for _, texts in runs)
        assert kinds.count("command") == 4
    assert kinds.count("inference") == chats
    assert kinds.count("tool") == tools


def replies(items):
    """How many replies of the model a run's items are: calls that stand together are one, and so is the answer."""
    kinds = [kind for kind, _ in items if kind != "reasoning_item"]
    groups = [kind for kind, last in zip(kinds, [None, *kinds], strict=False) if kind != last]
    return groups.count("tool_call_item") + groups.count("message_output_item")
