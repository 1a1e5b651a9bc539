from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import StatusCode

from otel_perfopt.signal.calls import ToolCall
from otel_perfopt.signal.emit import tool_calls, tool_span, tracing
from otel_perfopt.signal.emit.faults import faults
from otel_perfopt.signal.emit.spans import command, tool


class RefusedError(Exception):
    """A tool's own error."""


def make_tools():
    """A tool of each kind, made new so that tests do not meet."""

    @tool(effects="read", resource="order/{order_id}")
    def fetch(order_id: str, *, detail: int = 1):
        if order_id == "none":
            raise RefusedError(order_id)
        return {"order": order_id, "detail": detail}

    @tool("afetch", effects="read")
    async def fetch_later(order_id: str):
        await asyncio.sleep(0)
        if order_id == "none":
            raise RefusedError(order_id)
        return {"order": order_id}

    return fetch, fetch_later


def test_a_tool_call_becomes_a_span_that_says_what_it_did(spans, no_faults):
    """Kind, name, effects, resource, digests and estimated tokens are on the span; content is not."""
    fetch, _ = make_tools()
    with command("/query", conversation_id="c-1"):
        fetch("ORD-9917")
        fetch(order_id="ORD-9917", detail=1)
        fetch("ORD-1000")
    parent = spans.one("/query")
    first, same, other = spans.of_kind("tool")
    assert first.parent.span_id == parent.context.span_id
    assert first.name == "execute_tool fetch"
    said = first.attributes
    assert said["gen_ai.operation.name"] == "execute_tool"
    assert said["gen_ai.tool.name"] == "fetch"
    assert said["perfopt.tool.effects"] == "read"
    assert said["perfopt.tool.resource"] == "order/ORD-9917"
    assert said["perfopt.tool.result.tokens"] == 9  # 35 characters of JSON
    assert said["perfopt.tool.arguments.digest"] == same.attributes["perfopt.tool.arguments.digest"]
    assert said["perfopt.tool.arguments.digest"] != other.attributes["perfopt.tool.arguments.digest"]
    assert set(said["perfopt.dataflow.inputs"]) & set(said["perfopt.dataflow.outputs"])
    assert not any("ORD-9917" in str(value) for name, value in said.items() if name != "perfopt.tool.resource")


def test_content_is_captured_only_when_asked_for(spans):
    """With content on, arguments and result are there under the names of the conventions."""
    fetch, _ = make_tools()
    tool_span.capture_content(on=True)
    try:
        fetch("ORD-9917")
    finally:
        tool_span.capture_content(on=False)
    said = spans.one("execute_tool fetch").attributes
    assert said["gen_ai.tool.call.arguments"] == '{"order_id": "ORD-9917", "detail": 1}'
    assert "ORD-9917" in said["gen_ai.tool.call.result"]


def test_an_error_is_recorded_and_arrives_unchanged(spans, no_faults):
    """Type, status and event are on the span; the agent catches the tool's own exception."""
    fetch, fetch_later = make_tools()
    with pytest.raises(RefusedError) as raised:
        fetch("none")
    assert traceback.extract_tb(raised.value.__traceback__)[-1].name == "fetch"
    with pytest.raises(RefusedError):
        asyncio.run(fetch_later("none"))
    for span in spans.of_kind("tool"):
        assert span.attributes["error.type"].endswith("RefusedError")
        assert span.status.status_code is StatusCode.ERROR
        assert [event.name for event in span.events] == ["exception"]


async def test_cancelled_and_concurrent_calls_are_told_apart(spans, no_faults):
    """A hundred calls in one task group each have their span under the command; a cancelled one is no error."""
    _, fetch_later = make_tools()
    gate = asyncio.Event()

    @tool
    async def waits():
        await gate.wait()

    async with command("/task"):
        results = await asyncio.gather(*(fetch_later(f"ORD-{n}") for n in range(100)))
        task = asyncio.create_task(waits())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [result["order"] for result in results] == [f"ORD-{n}" for n in range(100)]
    assert {span.parent.span_id for span in spans.of_kind("tool")} == {spans.one("/task").context.span_id}
    assert "error.type" not in spans.one("execute_tool waits").attributes


def test_calls_in_threads_are_watched_too(spans, no_faults):
    """Calls from a pool give their results; without a context of their own they are roots."""
    fetch, _ = make_tools()
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(fetch, [f"ORD-{n}" for n in range(200)]))
    assert [result["order"] for result in results] == [f"ORD-{n}" for n in range(200)]
    assert len(spans.of_kind("tool")) == 200


class Recorder:
    """An interceptor that keeps what it saw and can be told to fail."""

    def __init__(self, before=None, after=None):
        self.calls: list[ToolCall] = []
        self.before, self.after = before, after

    def around_tool(self, call, execute):
        self.calls.append(call)
        if self.before:
            raise self.before
        result = execute(call)
        if self.after:
            raise self.after
        return result

    async def around_tool_async(self, call, execute):
        self.calls.append(call)
        if self.before:
            raise self.before
        result = await execute(call)
        if self.after:
            raise self.after
        return result

    def on_reply(self, run, requests, functions):
        raise RuntimeError("fault")


def test_an_interceptor_stands_around_the_span(spans, no_faults):
    """It sees tool, arguments by name, effects and run, and the span is inside its `execute`."""
    fetch, _ = make_tools()
    recorder = Recorder()
    tool_calls.set_interceptor(recorder)
    with command("/query"):
        assert fetch("ORD-9917")["order"] == "ORD-9917"
    (call,) = recorder.calls
    assert (call.tool, call.effects, call.arguments) == ("fetch", "read", {"order_id": "ORD-9917", "detail": 1})
    assert call.run.command == "/query"
    assert len(spans.of_kind("tool")) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_faulty_interceptor_costs_nothing(spans, when):
    """Whether it fails before or after the call: the plain result, or the tool's own error, and one call made."""
    made = []

    @tool
    def once(x):
        made.append(x)
        if x < 0:
            raise RefusedError(x)
        return x * 2

    @tool
    async def once_later(x):
        return once(x)

    tool_calls.set_interceptor(Recorder(**{when: RuntimeError("ours")}))
    assert once(2) == 4
    assert asyncio.run(once_later(3)) == 6
    with pytest.raises(RefusedError) as raised:
        once(-1)
    assert raised.value.__context__ is None
    assert made == [2, 3, -1]
    assert faults["interceptor"] >= 2


def test_a_tools_error_raised_from_elsewhere_is_not_taken_for_a_fault(no_faults):
    """An interceptor that made the call before, in another thread, and gives the agent its exception."""

    @tool
    def failing():
        raise RefusedError("early")

    class Early(Recorder):
        def around_tool(self, call, execute):
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(tool_calls.execute, call).result()

    tool_calls.set_interceptor(Early())
    with pytest.raises(RefusedError, match="early"):
        failing()


def test_a_tool_inside_a_tool_goes_the_plain_way(spans, no_faults):
    """The inner call has a span under the outer one, and nobody stands in its way."""

    @tool
    def inner(x):
        return x

    @tool
    def outer(x):
        return inner(x) + 1

    recorder = Recorder()
    tool_calls.set_interceptor(recorder)
    assert outer(1) == 2
    assert [call.tool for call in recorder.calls] == ["outer"]
    assert spans.one("execute_tool inner").parent.span_id == spans.one("execute_tool outer").context.span_id


def test_a_hit_is_recorded_without_a_call(spans, no_faults):
    """A result that came from elsewhere has a span that says so, with the call's own attributes."""
    fetch, _ = make_tools()

    class Cache(Recorder):
        def around_tool(self, call, execute):
            call.span_attributes["perfopt.policy.p.arm"] = "treatment"
            tool_calls.record_hit(call, "kept")
            return "kept"

    tool_calls.set_interceptor(Cache())
    assert fetch("ORD-9917") == "kept"
    said = spans.one("execute_tool fetch").attributes
    assert said["perfopt.cache.hit"] is True
    assert said["perfopt.policy.p.arm"] == "treatment"


class Broken:
    """Stands in for anything of ours that fails."""

    def __call__(self, *args, **kwargs):
        raise RuntimeError("injected")

    set = reset = get = start_span = __call__


class BrokenProcessor(SpanProcessor):
    def __init__(self, where):
        self.where = where

    def on_start(self, span, parent_context=None):
        if self.where == "start":
            raise RuntimeError("injected")

    def on_end(self, span):
        if self.where == "end":
            raise RuntimeError("injected")


FAULTS = {
    "arguments digest": (tool_span, "content_digest"),
    "flow values": (tool_span, "flow_values"),
    "parent": (tool_span, "parent_context"),
    "current call": (tool_calls, "_current"),
    "current run": (tool_calls, "current_run"),
    "context attach": (tracing.context_api, "attach"),
    "context detach": (tracing.context_api, "detach"),
    "span context": (tracing.trace, "set_span_in_context"),
    "tracer": (tracing, "tracer"),
}


@pytest.mark.parametrize("what", [*FAULTS, "start", "end"])
def test_no_fault_of_ours_reaches_the_agent(spans, monkeypatch, what):
    """With an exception injected into each thing a call passes, results and errors are the plain ones."""
    fetch, fetch_later = make_tools()
    if what in FAULTS:
        monkeypatch.setattr(*FAULTS[what], Broken())
    else:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BrokenProcessor(what))
        tracing.use_provider(provider)

    def use_all():
        for _ in range(2):
            assert fetch("ORD-1") == {"order": "ORD-1", "detail": 1}
            assert asyncio.run(fetch_later("ORD-2")) == {"order": "ORD-2"}
            with pytest.raises(RefusedError):
                fetch("none")
            with command("/query"):
                assert fetch("ORD-3", detail=2)["detail"] == 2

    # In a context of its own: what cannot be detached stays there.
    contextvars.copy_context().run(use_all)
    assert sum(faults.values()) > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_calls_tools_as_its_parent_does(spans):
    """Also when another thread of the parent is in the middle of a call as it forks."""
    fetch, _ = make_tools()
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            fetch("ORD-0")

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        child = os.fork()
        if child == 0:
            os._exit(0 if fetch("ORD-5")["order"] == "ORD-5" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()
