from __future__ import annotations

import sys
import threading
import types

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_perfopt
from otel_perfopt.settings import AgentSettings
from otel_perfopt.signal.emit import captured_content
from otel_perfopt.signal.emit.conversations import SentMessage
from otel_perfopt.signal.emit.faults import faults
from otel_perfopt.signal.emit.model_calls import ModelReply, ModelRequest, begin_model_call
from otel_perfopt.signal.emit.spans import tool

ARGUMENTS, RESULT = "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"
SENT, RECEIVED = "gen_ai.input.messages", "gen_ai.output.messages"


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host that exports in batches, and how to have it captured with a hook."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))

    def spans(hook=None, **options):
        if hook is not None:
            module = types.ModuleType("redacting")
            module.Rules = types.SimpleNamespace(hook=hook)
            monkeypatch.setitem(sys.modules, "redacting", module)
            options["redact"] = "redacting:Rules.hook"
        otel_perfopt.instrument(home=tmp_path, tracer_provider=provider, capture_content=True, **options)
        look_up("ORD-1", secret="token-123")
        begin_chat().end(ModelReply(output_text="the answer to token-123"))
        provider.force_flush()
        otel_perfopt.uninstrument()
        return {span.name: dict(span.attributes) for span in exporter.get_finished_spans()}

    yield spans
    otel_perfopt.uninstrument()
    captured_content.redact_with(None)
    provider.shutdown()


@tool("look_up", effects="read")
def look_up(order_id, secret=""):
    return {"order": order_id, "seen": secret}


def begin_chat():
    message = SentMessage("user", 1)
    return begin_model_call(ModelRequest("openai", "m", (message,), attributes=((SENT, "tell token-123"),)))


def contents(spans):
    kept = {name: text for attributes in spans.values() for name, text in attributes.items()}
    return {name: kept[name] for name in (ARGUMENTS, RESULT, SENT, RECEIVED) if name in kept}


def test_without_a_hook_content_is_captured_as_it_is(host):
    """Where content is switched on and no hook is named, it is all there."""
    found = contents(host())
    assert set(found) == {ARGUMENTS, RESULT, SENT, RECEIVED}
    assert all("token-123" in text for text in found.values())


def test_a_hook_sees_all_content_before_it_is_put_on_a_span_off_the_request_path(host):
    """Arguments, results, prompts and replies go out as the hook gives them, asked by the thread that ends spans."""
    asked = {}

    def hook(name, text):
        asked[name] = threading.current_thread().name
        return text.replace("token-123", "***")

    found = contents(host(hook))
    assert set(found) == set(asked) == {ARGUMENTS, RESULT, SENT, RECEIVED}
    assert not any("token" in text for text in found.values())
    assert set(asked.values()) == {"otel-perfopt-spans"}


def test_a_hook_leaves_content_out_and_digests_stay(host):
    """None means nothing of it goes out; what tells calls apart is of the content as it was."""
    plain = host(lambda name, text: text)
    digest = plain["execute_tool look_up"]["perfopt.tool.result.digest"]
    spans = host(lambda name, text: text if name == RECEIVED else None)
    assert set(contents(spans)) == {RECEIVED}
    assert spans["execute_tool look_up"]["perfopt.tool.result.digest"] == digest


def failing(name, text):
    raise LookupError(text)


@pytest.mark.parametrize("hook", [failing, lambda name, text: 7])
def test_a_hook_that_fails_lets_nothing_through(host, hook):
    """An exception, or something that is no text, drops the content instead of exporting it raw; the span stays."""
    spans = host(hook)
    assert len(spans) >= 2
    assert contents(spans) == {}
    assert faults.pop("redaction") == 4


def test_a_hook_that_cannot_be_imported_lets_nothing_through(host):
    """A name that is wrong is no reason to export content raw."""
    assert contents(host(redact="no_such_module:hook")) == {}
    assert faults.pop("redaction") == 4


def test_the_hook_is_named_by_the_environment():
    """`PERFOPT_REDACT` names it."""
    assert AgentSettings.from_environment({"PERFOPT_REDACT": " mine:hook "}).redact == "mine:hook"
