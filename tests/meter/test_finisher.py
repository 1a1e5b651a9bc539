from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_perfopt
from otel_perfopt.signal.emit import tool_span, tracing
from otel_perfopt.signal.emit.faults import faults
from otel_perfopt.signal.emit.finisher import Finisher
from otel_perfopt.signal.emit.processor import PerfoptSpanProcessor
from otel_perfopt.signal.emit.spans import command, tool


class Kept:
    """A provider whose spans are exported in batches, instrumented by this package."""

    def __init__(self, home):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(self.exporter, schedule_delay_millis=60_000))
        faults.clear()
        assert otel_perfopt.instrument(home=home, tracer_provider=self.provider)

    def spans(self):
        """All there are, in the order of their ends, after a flush by the host."""
        self.provider.force_flush()
        return self.exporter.get_finished_spans()


@pytest.fixture
def kept(tmp_path):
    kept = Kept(tmp_path)
    yield kept
    otel_perfopt.uninstrument()
    kept.provider.shutdown()
    assert not faults


@tool("look_up", effects="read")
def look_up(order_id):
    return {"order": order_id, "items": [{"id": f"ITEM-{n:04d}"} for n in range(20)]}


def test_a_result_changed_by_the_agent_is_digested_as_it_was(kept):
    """The span of a call tells what the tool returned, not what the agent made of it."""
    with command("/task"):
        first = look_up("ORD-1")
        first["items"].clear()
        look_up("ORD-1")
    one, two, _ = kept.spans()
    assert one.attributes["perfopt.tool.result.digest"] == two.attributes["perfopt.tool.result.digest"]
    assert len(one.attributes["perfopt.dataflow.outputs"]) >= 20


def test_spans_end_later_as_of_when_they_ended(kept):
    """Order, nesting and times are those of the calls, and nothing is ended on the agent's thread."""
    with command("/outer"):
        before = time.time_ns()
        look_up("ORD-1")
        after = time.time_ns()
        time.sleep(0.05)
    inner, outer = kept.spans()
    assert (inner.name, outer.name) == ("execute_tool look_up", "/outer")
    assert before <= inner.end_time <= after
    assert inner.parent.span_id == outer.context.span_id
    assert outer.end_time - inner.end_time > 40_000_000


def test_the_request_path_does_not_digest(kept, monkeypatch):
    """Digests are made by the finishing thread only."""
    makers = set()
    real = tool_span.content_digest
    monkeypatch.setattr(
        tool_span, "content_digest", lambda v: (makers.add(threading.current_thread().name), real(v))[1]
    )
    look_up("ORD-1")
    kept.spans()
    assert makers == {"otel-perfopt-spans"}


def test_the_result_of_a_block_is_described_later_too(kept, monkeypatch):
    """A block's result is kept as it is when given, the last one given counts, and digests are made by the thread."""
    makers = set()
    real = tool_span.content_digest
    monkeypatch.setattr(
        tool_span, "content_digest", lambda v: (makers.add(threading.current_thread().name), real(v))[1]
    )
    value = look_up("ORD-1")
    with tool("block", arguments={"order_id": "ORD-1"}) as call:
        call.result([{"n": n, "text": "x" * 50} for n in range(500)])
        call.result(value)
        value["items"].clear()
    plain, block = kept.spans()
    assert makers == {"otel-perfopt-spans"}
    for name in ("perfopt.tool.result.digest", "perfopt.tool.arguments.digest", "perfopt.dataflow.outputs"):
        assert block.attributes[name] == plain.attributes[name]
    assert len(tracing.finisher()._large) == 64


def test_a_block_that_fails_is_described_as_far_as_it_came(kept):
    """A result given before an exception is told, and so is the error."""

    def failing(call):
        call.result({"order": "ORD-1"})
        raise LookupError("no")

    with pytest.raises(LookupError), tool("block") as call:
        failing(call)
    (span,) = kept.spans()
    assert span.attributes["error.type"] == "LookupError"
    assert "perfopt.tool.result.digest" in span.attributes


def test_spans_without_room_are_counted_as_dropped():
    """Of spans that end faster than they are counted none is lost unseen."""
    finisher, seen = Finisher(limit=8, linger_s=0.0), []

    class Slow:
        def ending(self, span, end_ns):
            pass

        def ended(self, span):
            time.sleep(0.0005)
            seen.append(span)

    finisher.observer = Slow()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(PerfoptSpanProcessor(finisher))
    tracer = provider.get_tracer("theirs")
    for _ in range(500):
        tracer.start_span("chat", attributes={"gen_ai.operation.name": "chat"}).end()
    assert finisher.flush(10)
    assert finisher.dropped > 0
    assert len(seen) + finisher.dropped == 500
    finisher.stop(1)


def test_what_work_left_is_seen_to_when_nothing_follows():
    """After a batch the thread looks once more when it had no news for a while, and then sleeps."""
    looks = []
    finisher = Finisher(linger_s=0.0, idle_s=0.05)
    finisher.after_batch = lambda: looks.append(time.monotonic())
    finisher.end(trace.INVALID_SPAN, 1)
    time.sleep(0.5)
    assert len(looks) == 2
    assert looks[1] - looks[0] >= 0.04
    finisher.stop(1)


def test_a_stopped_finisher_starts_again():
    """Spans that end after a stop are counted by another thread."""
    finisher, seen = Finisher(linger_s=0.0), []

    class Counting:
        def ending(self, span, end_ns):
            pass

        def ended(self, span):
            seen.append(span.name)

    finisher.observer = Counting()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(PerfoptSpanProcessor(finisher))
    for _ in range(2):
        provider.get_tracer("theirs").start_span("chat", attributes={"gen_ai.operation.name": "chat"}).end()
        time.sleep(0.1)
        finisher.stop(1)
    assert seen == ["chat", "chat"]


def test_results_too_large_to_copy_are_left_undescribed_and_counted(kept):
    """A span without digests says that its values are not all there."""

    @tool("dump")
    def dump():
        return [{"n": n, "text": "x" * 50} for n in range(20_000)]

    finisher = tracing.finisher()
    dump()
    (span,) = kept.spans()
    assert span.attributes["perfopt.dataflow.truncated"] is True
    assert "perfopt.tool.result.digest" not in span.attributes
    assert finisher.undescribed == 1


def test_a_full_queue_loses_no_span(kept, monkeypatch):
    """Without room spans end at once, the digests of some are left out and counted."""
    finisher = tracing.finisher()
    monkeypatch.setattr(finisher, "_limit", 3)
    monkeypatch.setattr(finisher, "_busy", 1)
    for n in range(200):
        look_up(f"ORD-{n}")
    spans = kept.spans()
    assert len(spans) == 200
    described = [span for span in spans if "perfopt.tool.result.digest" in span.attributes]
    assert len(described) + finisher.undescribed == 200
    assert finisher.undescribed > 0


def test_large_results_have_few_places_which_come_back(kept):
    """Never more than 64 large results wait; the next ones find room again."""

    @tool("page")
    def page():
        return [{"n": n, "text": "x" * 50} for n in range(500)]

    finisher = tracing.finisher()
    for _ in range(100):
        page()
    kept.spans()
    assert len(finisher._large) == 64
    before = finisher.undescribed
    page()
    kept.spans()
    assert finisher.undescribed == before


def test_whoever_exports_each_span_at_once_gets_it_at_once(kept):
    """With a simple processor beside ours the order of ends is the order of exports."""
    theirs = InMemorySpanExporter()
    kept.provider.add_span_processor(SimpleSpanProcessor(theirs))
    with command("/task"):
        look_up("ORD-1")
    assert [span.name for span in theirs.get_finished_spans()] == ["execute_tool look_up", "/task"]


def test_threads_lose_nothing(kept):
    """64 threads, every span of theirs is there, under its own command."""

    def work(n):
        with command(f"/n{n}"):
            for k in range(20):
                look_up(f"ORD-{n}-{k}")

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(work, range(64)))
    spans = kept.spans()
    commands = {span.context.span_id: span.name for span in spans if not span.parent}
    assert len(commands) == 64
    assert len(spans) == 64 * 21
    assert all(span.parent.span_id in commands for span in spans if span.parent)


def test_a_host_that_shuts_its_provider_down_gets_everything(kept):
    """What waits is ended before the exporters after us are shut down."""
    look_up("ORD-1")
    kept.provider.shutdown()
    assert len(kept.exporter.get_finished_spans()) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_ends_its_own_spans_and_no_others(tmp_path):
    """Parent and child each export what they made, once; nothing hangs."""
    code = """
        import os, sys, json
        import otel_perfopt
        from otel_perfopt import tool, command
        otel_perfopt.instrument(home=sys.argv[1], write_telemetry=True)
        @tool("look_up")
        def look_up(n):
            return {"n": n}
        with command("/parent"):
            look_up(0)
        look_up(1)
        child = os.fork()
        for n in range(10):
            look_up(100 * (child == 0) + n + 2)
        if child:
            assert os.waitpid(child, 0)[1] == 0
        otel_perfopt.uninstrument()
        os._exit(0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], check=True, timeout=60)
    lines = [line for file in (tmp_path / "telemetry").iterdir() for line in file.read_text().splitlines()]
    names = [
        span["name"]
        for line in lines
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    assert sorted(names) == sorted(["/parent"] + ["execute_tool look_up"] * 22)


def test_a_finisher_whose_thread_cannot_start_refuses(monkeypatch):
    """At the end of an interpreter no thread starts: spans are ended by whoever has them."""
    finisher = Finisher()

    def refuse(self):
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert not finisher.end(trace.INVALID_SPAN, 1)
    assert finisher.flush(1)
    faults.clear()
