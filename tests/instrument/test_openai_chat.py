from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading

import openai
import pytest
from opentelemetry import context as context_api
from opentelemetry import trace

from otel_perfopt.signal.emit import discovery, implicit, model_calls, tool_calls, tool_span
from otel_perfopt.signal.emit.faults import faults
from otel_perfopt.signal.emit.processor import PerfoptSpanProcessor
from otel_perfopt.signal.emit.spans import command, tool
from otel_perfopt.signal.emit.tools import _tools
from otel_perfopt.signal.frameworks import openai_chat, openai_reply, openai_request

MODEL = "test-model"


def schema(*names):
    return [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in names]


TOOLS = schema("lookup", "store")


@pytest.fixture
def tools(spans):
    """Two tools, as an agent's table holds them."""

    @tool(effects="read")
    def lookup(key, limit=3):
        return {"key": key, "limit": limit}

    @tool(effects="write")
    def store(key, value=None):
        return {"stored": key}

    yield {"lookup": lookup, "store": store}
    _tools.clear()


def answers(tools, message):
    return [
        {
            "role": "tool",
            "tool_call_id": call.id,
            "content": json.dumps(tools[call.function.name](**json.loads(call.function.arguments))),
        }
        for call in message.tool_calls
    ]


def run_agent(client, tools, text, messages=None, **more):
    messages = [{"role": "system", "content": "be good"}] if messages is None else messages
    messages.append({"role": "user", "content": text})
    while True:
        reply = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS, **more)
        message = reply.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if not message.tool_calls:
            return message.content
        messages.extend(answers(tools, message))


def family(spans):
    """Each span's name with its parent's; without thinking that is only estimated."""
    names = {span.context.span_id: span.name for span in spans.all}
    return [
        (span.name, names.get(span.parent.span_id) if span.parent else None)
        for span in spans.all
        if not span.attributes.get("perfopt.duration.estimated")
    ]


ASK = '/query call lookup {"key": "ORD-1"}; store {"key": "ORD-2", "value": 5}'


def test_a_declared_command_holds_its_model_and_tool_calls(spans, tools, openai_client, no_faults):
    """Command over chat and tools, each tool call joined to the reply that asked for it."""
    with command("/query"):
        assert run_agent(openai_client, tools, ASK, metadata={"session_id": "s-1", "user_id": "u-1"}) == "answer 5"
    assert family(spans) == [
        ("/query", None),
        (f"chat {MODEL}", "/query"),
        ("execute_tool lookup", "/query"),
        ("execute_tool store", "/query"),
        (f"chat {MODEL}", "/query"),
    ]
    run, (first, second), calls = spans.one("/query"), spans.of_kind("inference"), spans.of_kind("tool")
    assert run.attributes["gen_ai.conversation.id"] == "s-1"
    assert run.attributes["user.id"] == "u-1"
    said = first.attributes
    assert said["gen_ai.provider.name"] == "openai"
    assert said["gen_ai.request.model"] == MODEL
    assert said["gen_ai.response.model"] == f"{MODEL}-1"
    assert said["gen_ai.response.id"] == "reply-1"
    assert said["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert said["gen_ai.usage.output_tokens"] == 7
    assert said["gen_ai.usage.cache_read.input_tokens"] == said["gen_ai.usage.input_tokens"] // 2
    assert said["gen_ai.usage.reasoning.output_tokens"] == 3
    assert said["perfopt.context.resent_tokens"] == 0
    assert second.attributes["perfopt.context.resent_tokens"] == said["gen_ai.usage.input_tokens"]
    for call in calls:
        assert call.attributes["perfopt.requested_by"] == format(first.context.span_id, "016x")
        assert call.attributes["gen_ai.tool.call.id"].startswith("call_")
    assert not any(
        "be good" in str(value) or "ORD-1" in str(value) for span in spans.all for value in span.attributes.values()
    )


def test_thinking_that_no_stream_shows_is_estimated_and_says_so(spans, tools, openai_client, no_faults):
    """Of an unstreamed reply the reasoning tokens' share of the call is thinking, from its start on."""
    run_agent(openai_client, tools, "hello")
    (chat,), (thinking,) = spans.of_kind("inference"), spans.of_kind("thinking")
    assert thinking.attributes["perfopt.duration.estimated"] is True
    assert thinking.parent.span_id == chat.context.span_id
    assert 0 <= thinking.start_time - chat.start_time < 5_000_000
    share = (thinking.end_time - thinking.start_time) / (chat.end_time - thinking.start_time)
    assert share == pytest.approx(3 / 7, rel=0.1)


def test_nothing_declared_still_gives_commands(spans, tools, openai_client, no_faults):
    """Each user turn is a command, named by its /word, closed by the final reply; turns share a conversation."""
    messages = [{"role": "system", "content": "be good"}]
    run_agent(openai_client, tools, ASK, messages)
    run_agent(openai_client, tools, "/task thanks", messages)
    run_agent(openai_client, tools, "/query hello", [{"role": "system", "content": "another"}])
    first, second, other = spans.of_kind("command")
    assert [span.name for span in (first, second, other)] == ["/query", "/task", "/query"]
    assert {span.attributes["perfopt.command.outcome"] for span in (first, second, other)} == {"completed"}
    conversation = first.attributes["gen_ai.conversation.id"]
    assert conversation == second.attributes["gen_ai.conversation.id"] != other.attributes["gen_ai.conversation.id"]
    assert {span.parent.span_id for span in spans.of_kind("tool")} == {first.context.span_id}
    assert len({span.context.trace_id for span in (first, second, other)}) == 3


def test_a_streamed_reply_is_put_together(spans, tools, openai_client, no_faults):
    """The span lasts as long as the stream; usage, first token, thinking and requests are found in it."""
    handed_on = []

    class Interceptor:
        def around_tool(self, call, execute):
            return execute(call)

        def on_reply(self, run, requests, functions):
            handed_on.append((requests, sorted(functions)))

    tool_calls.set_interceptor(Interceptor())
    messages = [{"role": "user", "content": ASK}]
    stream = openai_client.chat.completions.create(
        model=MODEL, messages=messages, tools=TOOLS, stream=True, stream_options={"include_usage": True}
    )
    seen = []
    for chunk in stream:
        seen.append(chunk)
        if chunk.choices and chunk.choices[0].finish_reason:
            assert handed_on, "requests are handed on as soon as they are complete"
    assert type(stream).__name__ == "Stream"
    ((requests, functions),) = handed_on
    assert [(request.name, request.arguments) for request in requests] == [
        ("lookup", {"key": "ORD-1"}),
        ("store", {"key": "ORD-2", "value": 5}),
    ]
    assert functions == ["lookup", "store"]
    tools["lookup"]("ORD-1")
    chat, thinking = spans.one(f"chat {MODEL}"), spans.one("thinking")
    assert chat.attributes["gen_ai.usage.output_tokens"] == 7
    assert chat.attributes["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert 0 < chat.attributes["perfopt.time_to_first_token"] < 5
    assert thinking.parent.span_id == chat.context.span_id
    assert chat.start_time <= thinking.start_time <= thinking.end_time <= chat.end_time
    (call,) = spans.of_kind("tool")
    assert call.attributes["perfopt.requested_by"] == format(chat.context.span_id, "016x")


def test_a_stream_left_early_ends_its_span(spans, openai_client, no_faults):
    """Breaking out of a stream, or closing it, leaves no span open; the chunks are the client's own."""
    for _ in range(2):
        with openai_client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hello"}], stream=True
        ) as stream:
            next(iter(stream))
        del stream
    gc.collect()
    assert len(spans.of_kind("inference")) == 2


async def test_asynchronous_calls_and_streams(spans, async_client, no_faults):
    """Twenty conversations at once, whole and streamed: every tool call under its own command."""

    @tool(effects="read")
    async def alookup(key):
        await asyncio.sleep(0.001)
        return {"key": key}

    async def converse(n, stream):
        messages = [{"role": "user", "content": f'/c{n} call alookup {{"key": "ORD-{n}"}}'}]
        reply = async_client.chat.completions.create(
            model=MODEL,
            messages=messages,
            tools=schema("alookup"),
            stream=stream,
            stream_options={"include_usage": True} if stream else None,
        )
        if stream:
            calls: dict = {}
            async for chunk in await reply:
                for part in (chunk.choices[0].delta.tool_calls or ()) if chunk.choices else ():
                    call = calls.setdefault(
                        part.index, {"id": part.id, "type": "function", "function": {"name": "", "arguments": ""}}
                    )
                    call["function"]["name"] += part.function.name or ""
                    call["function"]["arguments"] += part.function.arguments or ""
            message = {"role": "assistant", "tool_calls": list(calls.values())}
        else:
            message = (await reply).choices[0].message.model_dump(exclude_none=True)
        messages.append(message)
        for call in message["tool_calls"]:
            # On another task than the model call, as frameworks do it.
            result = await asyncio.create_task(alookup(**json.loads(call["function"]["arguments"])))
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)})
        final = await async_client.chat.completions.create(model=MODEL, messages=messages)
        return final.choices[0].message.content

    results = await asyncio.gather(*(converse(n, stream=n % 2 == 0) for n in range(20)))
    await async_client.close()
    assert results == ["answer 3"] * 20
    commands = {span.context.span_id: span for span in spans.of_kind("command")}
    assert len(commands) == 20
    found = spans.of_kind("tool")
    assert len(found) == 20
    assert len({span.parent.span_id for span in found}) == 20
    assert {span.parent.span_id for span in found} == set(commands)
    assert {span.attributes["perfopt.command.outcome"] for span in commands.values()} == {"completed"}


def test_tool_calls_on_other_threads_find_their_command(spans, tools, openai_client, no_faults):
    """A framework that makes model calls on one thread and tool calls on another is joined by what was asked."""
    replies = []

    def on_thread(work):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    messages = [{"role": "user", "content": ASK}]
    on_thread(
        lambda: replies.append(openai_client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS))
    )
    message = replies[0].choices[0].message
    messages.append(message)  # the client's own object, not a dict
    messages.extend(answers(tools, message))
    on_thread(lambda: openai_client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS))
    (run,) = spans.of_kind("command")
    assert {span.parent.span_id for span in spans.of_kind("tool")} == {run.context.span_id}


def test_an_unrelated_call_never_joins_a_command_left_open(spans, tools, openai_client, no_faults):
    """An agent that died between reply and tool call leaves its thread to others, who stay outside."""
    openai_client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": ASK}], tools=TOOLS)
    tools["lookup"]("something else", limit=9)  # asked for by name: an agent may add arguments
    tools["lookup"]("ORD-1")  # the request has been answered: nobody asked for this one
    openai_client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "/other hi"}])
    runs = {span.name: span for span in spans.of_kind("command")}
    assert list(runs) == ["/other"]
    joined, outside = spans.of_kind("tool")
    assert joined.parent is not None
    assert outside.parent is None
    implicit.commands().close_all()
    assert spans.one("/query").attributes["perfopt.command.outcome"] == "interrupted"


def test_a_failing_call_raises_what_the_client_raises(spans, openai_client, no_faults):
    """The client's own exception arrives, and is on the span and on the command it ended."""
    with pytest.raises(openai.BadRequestError), command("/query"):
        openai_client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "fail"}])
    assert spans.one(f"chat {MODEL}").attributes["error.type"] == "openai.BadRequestError"
    with pytest.raises(TypeError, match="Missing required arguments"):
        openai_client.chat.completions.create(model=MODEL)


def test_raw_and_typed_responses(spans, openai_client, no_faults):
    """What frameworks use of the client (raw responses, parsing, its stream helper) is seen too, and unchanged."""
    messages = [{"role": "user", "content": "hello"}]
    raw = openai_client.chat.completions.with_raw_response.create(model=MODEL, messages=messages)
    assert raw.parse().choices[0].message.content == "answer 1"
    parsed = openai_client.chat.completions.parse(model=MODEL, messages=messages)
    assert parsed.choices[0].message.content == "answer 1"
    with openai_client.chat.completions.stream(model=MODEL, messages=messages) as stream:
        assert stream.get_final_completion().choices[0].message.content == "answer1"
    with openai_client.chat.completions.with_streaming_response.create(model=MODEL, messages=messages) as response:
        assert json.loads(response.read())["id"] == "reply-1"
    found = spans.of_kind("inference")
    assert len(found) == 4
    assert [span.attributes.get("gen_ai.response.id") for span in found] == ["reply-1"] * 3 + [None]


def test_content_is_captured_only_when_asked_for(spans, openai_client):
    """With content on, messages are on the span under the names of the conventions."""
    tool_span.capture_content(on=True)
    try:
        openai_client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hello"}])
    finally:
        tool_span.capture_content(on=False)
    said = spans.one(f"chat {MODEL}").attributes
    assert json.loads(said["gen_ai.input.messages"]) == [{"role": "user", "content": "hello"}]
    assert json.loads(said["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "answer 1"}]


def test_beside_another_instrumentation_there_is_one_chat_span(spans, tools, openai_client, no_faults):
    """Inside another instrumentation's span ours is left out, and tool calls are joined to theirs."""
    tracer = spans.provider.get_tracer("another")
    with (
        command("/query"),
        tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}) as theirs,
    ):
        reply = openai_client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": ASK}], tools=TOOLS
        )
        answers(tools, reply.choices[0].message)
    assert spans.of_kind("inference") == []
    asker = format(theirs.get_span_context().span_id, "016x")
    assert [call.attributes["perfopt.requested_by"] for call in spans.of_kind("tool")] == [asker, asker]


def test_another_instrumentation_whose_span_is_inside_the_call(spans, tools, openai_client, monkeypatch, no_faults):
    """One that stands further in (as OpenInference does) is known by its span's start, seen by the processor."""
    spans.provider.add_span_processor(PerfoptSpanProcessor())
    monkeypatch.setattr(openai_request, "traced_by_another", lambda: True)
    tracer = spans.provider.get_tracer("another")
    post = type(openai_client)._request if hasattr(type(openai_client), "_request") else type(openai_client).request

    def request(self, *args, **kwargs):
        with tracer.start_as_current_span("ChatCompletion", attributes={"openinference.span.kind": "LLM"}):
            return post(self, *args, **kwargs)

    monkeypatch.setattr(type(openai_client), post.__name__, request)
    with command("/query", conversation_id="c-1"):
        run_agent(openai_client, tools, ASK)
    first, _ = (span for span in spans.all if span.name == "ChatCompletion")
    assert first.attributes["gen_ai.conversation.id"] == "c-1"
    asker = format(first.context.span_id, "016x")
    assert [call.attributes["perfopt.requested_by"] for call in spans.of_kind("tool")] == [asker, asker]
    assert spans.of_kind("inference") == []


def test_suppressed_calls_are_left_alone(spans, openai_client, no_faults):
    """Where instrumentation is turned off for a block of code, the client is the plain one."""
    token = context_api.attach(context_api.set_value(context_api._SUPPRESS_INSTRUMENTATION_KEY, "yes"))
    try:
        openai_client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hello"}])
    finally:
        context_api.detach(token)
    assert spans.all == []


class Broken:
    def __call__(self, *args, **kwargs):
        raise RuntimeError("injected")

    for_model_call = replied = set = get = reset = remember = resent_tokens = identify = __call__


FAULTS = {
    "request": (openai_request, "sent_message"),
    "reply": (openai_reply, "_common"),
    "run": (model_calls, "current_run"),
    "offered tools": (model_calls, "tools_offered"),
    "conversations": (model_calls, "_conversations"),
    "requests": (model_calls, "remember_requests"),
    "on_reply": (tool_calls, "known_tool"),
    "context": (trace, "set_span_in_context"),
    "stream": (openai_reply.ChatStream, "add"),
    "stream's end": (openai_reply.ChatStream, "reply"),
    "discovery": (discovery, "functions_named"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_no_fault_of_ours_reaches_the_agent(spans, tools, openai_client, monkeypatch, what):
    """With an exception injected into each thing a model call passes, whole and streamed replies are the plain ones."""
    owner, name = FAULTS[what]
    monkeypatch.setattr(owner, name, Broken())
    discovery.discover(lambda interception: None)
    if what == "on_reply":
        tool_calls.set_interceptor(Broken())
        monkeypatch.setattr(Broken, "around_tool", lambda self, call, execute: execute(call), raising=False)
    assert run_agent(openai_client, tools, ASK) == "answer 5"
    stream = openai_client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "a b"}], stream=True
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == "answer1"
    if what != "discovery":
        assert sum(faults.values()) > 0


def test_undo_gives_the_client_back(model_url):
    """Afterwards the client's functions have their own code."""
    module = pytest.importorskip("openai.resources.chat.completions.completions")
    functions = [
        vars(owner)[name] for owner in (module.Completions, module.AsyncCompletions) for name in ("create", "parse")
    ]
    before = [function.__code__ for function in functions]
    done = openai_chat.instrument_module(module)
    assert [function.__code__ for function in functions] != before
    for interception in done:
        interception.undo()
    assert [function.__code__ for function in functions] == before
    assert sys.modules["openai.resources.chat.completions.completions"] is module
