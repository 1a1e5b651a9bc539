from __future__ import annotations

import asyncio
import gc
import importlib

import pytest

from tests.frameworks.conftest import event_answer, json_answer

anthropic = pytest.importorskip("anthropic")

from otel_perfopt.signal.emit import tool_calls  # noqa: E402 - only where the client is installed
from otel_perfopt.signal.emit.spans import command, tool  # noqa: E402
from otel_perfopt.signal.frameworks import anthropic_messages  # noqa: E402

OPENLLMETRY = "openllmetry_openai_anthropic_langchain.tar.gz"
TOOLS = [{"name": "lookup", "input_schema": {"type": "object"}}]
MODEL = "claude-test"


@pytest.fixture(autouse=True)
def watched():
    """The official client with its messages taken over, the stable ones and the beta."""
    modules = [importlib.import_module(name) for name in anthropic_messages.MODULES]
    done = [interception for module in modules for interception in anthropic_messages.instrument_module(module)]
    assert len(done) == 12
    yield
    for interception in reversed(done):
        interception.undo()


@pytest.fixture
def tracing_options(spans):
    """The client's own tracing, on the same provider."""
    return {"open_telemetry": {"tracer_provider": spans.provider}}


@pytest.fixture
def client(provider):
    with anthropic.Anthropic(base_url=provider.url, api_key="none", max_retries=0, open_telemetry=False) as real:
        yield real


@pytest.fixture
def async_client(provider):
    return anthropic.AsyncAnthropic(base_url=provider.url, api_key="none", max_retries=0, open_telemetry=False)


TEXT = {"type": "text", "text": "open"}
THOUGHT = {"type": "thinking", "thinking": "let me see", "signature": "c2ln"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {"key": "ORD-1"}}


def message(*content, tokens=50, stop=None):
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test-1",
        "content": list(content),
        "stop_reason": stop or ("tool_use" if USE in content else "end_turn"),
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens,
            "cache_read_input_tokens": 30,
            "cache_creation_input_tokens": 20,
            "output_tokens": 20,
            "output_tokens_details": {"thinking_tokens": 12},
        },
    }


DELTAS = {
    "text": lambda block: [{"type": "text_delta", "text": block["text"]}],
    "thinking": lambda block: [
        {"type": "thinking_delta", "thinking": "let me "},
        {"type": "thinking_delta", "thinking": "see"},
        {"type": "signature_delta", "signature": block["signature"]},
    ],
    "tool_use": lambda _: [
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"key": "OR'},
        {"type": "input_json_delta", "partial_json": 'D-1"}'},
    ],
}
EMPTY = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}


def events_of(whole):
    """The events of a message, as the API documents them."""
    usage = {**whole["usage"], "output_tokens": 1}
    begun = {**whole, "content": [], "stop_reason": None, "usage": usage}
    events = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(whole["content"]):
        kind = block["type"]
        events.append({"type": "content_block_start", "index": index, "content_block": {**block, **EMPTY[kind]}})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in DELTAS[kind](block)]
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    events.append(
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": whole["usage"]["output_tokens"]}}
    )
    return [*events, {"type": "message_stop"}]


@pytest.fixture
def lookup(spans):
    @tool(effects="read")
    def lookup(key):
        return f"{key} is open"

    return lookup


def run_agent(client, lookup, messages):
    """A loop as the API's guide writes it; the cache breakpoint is moved to the newest message each time."""
    while True:
        for earlier in messages:
            for block in earlier["content"] if isinstance(earlier["content"], list) else ():
                if isinstance(block, dict):
                    block.pop("cache_control", None)
        newest = messages[-1]["content"]
        if isinstance(newest, list) and isinstance(newest[-1], dict):
            newest[-1]["cache_control"] = {"type": "ephemeral"}
        reply = client.messages.create(model=MODEL, max_tokens=99, messages=messages, tools=TOOLS, system="be good")
        messages.append({"role": "assistant", "content": reply.content})
        uses = [block for block in reply.content if block.type == "tool_use"]
        if not uses:
            return reply.content[-1].text
        results = [{"type": "tool_result", "tool_use_id": use.id, "content": lookup(**use.input)} for use in uses]
        messages.append({"role": "user", "content": results})


def test_a_loop_is_a_command_with_its_calls(spans, provider, client, lookup):
    """Each user turn is a command; tokens include cached ones; turns are one conversation; results answer requests."""
    provider.play(
        json_answer(message(THOUGHT, USE)),
        json_answer(message(TEXT, tokens=80)),
        json_answer(message(TEXT, tokens=90)),
    )
    messages = [{"role": "user", "content": [{"type": "text", "text": "/query where is ORD-1"}]}]
    assert run_agent(client, lookup, messages) == "open"
    messages.append({"role": "user", "content": "/query thanks"})
    assert run_agent(client, lookup, messages) == "open"
    assert spans.tree() == [
        ("/query", None),
        (f"chat {MODEL}", "/query"),
        ("execute_tool lookup", "/query"),
        (f"chat {MODEL}", "/query"),
        ("/query", None),
        (f"chat {MODEL}", "/query"),
    ]
    first, second, third = spans.of_kind("inference")
    assert first.attributes["gen_ai.provider.name"] == "anthropic"
    assert first.attributes["gen_ai.usage.input_tokens"] == 100
    assert first.attributes["gen_ai.usage.cache_read.input_tokens"] == 30
    assert first.attributes["gen_ai.usage.cache_write.input_tokens"] == 20
    assert first.attributes["gen_ai.usage.reasoning.output_tokens"] == 12
    assert first.attributes["gen_ai.response.finish_reasons"] == ("tool_use",)
    assert second.attributes["perfopt.context.resent_tokens"] == 100
    assert third.attributes["perfopt.context.resent_tokens"] == 130
    (executed,) = spans.of_kind("tool")
    assert executed.attributes["gen_ai.tool.call.id"] == "toolu_1"
    assert executed.attributes["perfopt.requested_by"] == format(first.context.span_id, "016x")
    assert len({span.attributes["gen_ai.conversation.id"] for span in spans.all if "chat" in span.name}) == 1
    assert len([span for span in spans.of_kind("thinking") if span.attributes["perfopt.duration.estimated"]]) == 3


@pytest.mark.parametrize("how", ["create", "helper", "text", "beta", "raw"])
def test_thinking_and_requests_of_a_stream(spans, provider, client, how):
    """However it is streamed: events as without us, thinking timed, requests handed on complete, one span."""
    provider.play(event_answer(events_of(message(THOUGHT, TEXT, USE)), pause_s=0.003))
    handed = []

    class Interceptor:
        def around_tool(self, call, execute):
            return execute(call)

        def on_reply(self, run, requests, functions):
            handed.extend(requests)

    tool_calls.set_interceptor(Interceptor())
    sent = {"model": MODEL, "max_tokens": 99, "messages": [{"role": "user", "content": "hello"}], "tools": TOOLS}
    if how == "create":
        kinds = [event.type for event in client.messages.create(**sent, stream=True)]
        assert kinds == [event["type"] for event in events_of(message(THOUGHT, TEXT, USE))]
    elif how == "raw":
        *_, last = client.messages.with_raw_response.create(**sent, stream=True).parse()
        assert last.type == "message_stop"
    else:
        with (client.beta if how == "beta" else client).messages.stream(**sent) as stream:
            if how == "text":
                assert list(stream.text_stream) == ["open"]
            whole = stream.get_final_message()
        assert whole.content[0].thinking == "let me see"
        assert whole.content[2].input == {"key": "ORD-1"}
    assert [(request.call_id, request.name, dict(request.arguments)) for request in handed] == [
        ("toolu_1", "lookup", {"key": "ORD-1"})
    ]
    (chat,), (thinking,) = spans.of_kind("inference"), spans.of_kind("thinking")
    assert thinking.parent.span_id == chat.context.span_id
    assert chat.start_time < thinking.start_time < thinking.end_time < chat.end_time
    # Sent 10 ms long; on a busy machine its beginning may be read late.
    assert (thinking.end_time - thinking.start_time) / 1e9 > 0.002
    assert "perfopt.duration.estimated" not in thinking.attributes
    assert chat.attributes["gen_ai.usage.input_tokens"] == 100
    assert chat.attributes["gen_ai.usage.output_tokens"] == 20
    assert chat.attributes["gen_ai.response.finish_reasons"] == ("tool_use",)


async def test_asynchronous_calls_and_streams(spans, provider, async_client):
    """The same for the asynchronous client, with calls that overlap kept apart."""
    provider.play(*(event_answer(events_of(message(THOUGHT, TEXT)), 0.002) for _ in range(3)))
    sent = {"model": MODEL, "max_tokens": 99, "messages": [{"role": "user", "content": "hello"}]}

    async def ask(number):
        with command(f"/ask{number}"):
            async with async_client.messages.stream(**sent) as stream:
                return await stream.get_final_text()

    async with async_client:
        assert await asyncio.gather(*(ask(number) for number in range(3))) == ["open"] * 3
        provider.play(json_answer(message(TEXT)), json_answer(message(TEXT)))
        assert (await async_client.messages.create(**sent)).content[0].text == "open"
        raw = await async_client.messages.with_raw_response.create(**sent)
        assert (await raw.parse()).content[0].text == "open"
    # The calls outside any command have one of their own, named after whatever program runs the tests.
    parents = sorted(parent for name, parent in spans.tree() if name == f"chat {MODEL}" and parent.startswith("/ask"))
    assert parents == ["/ask0", "/ask1", "/ask2"]
    assert len(spans.of_kind("inference")) == 5
    assert all(span.attributes["gen_ai.usage.output_tokens"] == 20 for span in spans.of_kind("inference"))


def test_the_clients_own_span_does_not_count_twice(spans, provider, tracing_options):
    """Since 2.0 the client traces itself: its span is kept, inside ours, and is no second call of a model."""
    provider.play(json_answer(message(TEXT)), event_answer(events_of(message(TEXT))))
    sent = {"model": MODEL, "max_tokens": 99, "messages": [{"role": "user", "content": "/query hello"}]}
    with anthropic.Anthropic(base_url=provider.url, api_key="none", **tracing_options) as client:
        client.messages.create(**sent)
        list(client.messages.create(**sent, stream=True))
    theirs = [span for span in spans.all if span.instrumentation_scope.name == "com.anthropic.sdk.python"]
    ours = spans.of_kind("inference")
    assert len(theirs) == len(ours) == 2
    assert [span.parent.span_id for span in theirs] == [span.context.span_id for span in ours]
    assert {span.attributes["perfopt.step.kind"] for span in theirs} == {"other"}


def test_errors_and_abandoned_streams(spans, provider, client):
    """A refused call raises what the client raises; a stream that is left, or never read, ends its span."""
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}
    provider.play(json_answer(error, status=400), *(event_answer(events_of(message(TEXT))) for _ in range(3)))
    sent = {"model": MODEL, "max_tokens": 99, "messages": [{"role": "user", "content": "hello"}]}
    with pytest.raises(anthropic.BadRequestError, match="no"):
        client.messages.create(**sent)
    with client.messages.stream(**sent) as stream:
        next(iter(stream))
    del stream
    client.messages.create(**sent, stream=True).close()
    with client.messages.stream(**sent):
        pass
    gc.collect()
    failed, *others = spans.of_kind("inference")
    assert failed.attributes["error.type"] == "anthropic.BadRequestError"
    assert len(others) == 3
    assert not any("error.type" in span.attributes for span in others)
    with pytest.raises(TypeError):
        client.messages.create(no_such_argument=1)


@pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")  # recordings are of models long gone
@pytest.mark.parametrize(
    "name",
    [
        "test_thinking/test_anthropic_thinking_streaming_legacy",
        "test_prompt_caching/test_anthropic_prompt_caching_legacy",
        "test_prompt_caching/test_anthropic_prompt_caching_stream_legacy",
        "test_messages/test_anthropic_tools_legacy",
        "test_messages/test_anthropic_tools_streaming_legacy",
    ],
)
def test_recorded_replies(spans, provider, client, cassettes, name):
    """What the provider really sent is counted as its own usage says, cached tokens included."""
    for recorded in cassettes(OPENLLMETRY, f"{name}.yaml"):
        provider.play(recorded.answer)
        result = client.messages.create(**recorded.request)
        events = list(result) if recorded.request.get("stream") else []
        usage = events[0].message.usage if events else result.usage
        span = spans.of_kind("inference")[-1]
        cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        assert span.attributes["gen_ai.usage.input_tokens"] == usage.input_tokens + cached
        last = next((event.usage for event in reversed(events) if event.type == "message_delta"), usage)
        assert span.attributes["gen_ai.usage.output_tokens"] == last.output_tokens
    assert bool(spans.of_kind("thinking")) == ("thinking" in name)
