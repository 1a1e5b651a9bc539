from __future__ import annotations

import asyncio
import gc
import json

import pytest

from tests.frameworks.conftest import event_answer, json_answer

openai = pytest.importorskip("openai")
from openai.resources.responses import responses as module  # noqa: E402 - only where it is installed

from otel_perfopt.signal.emit import tool_calls  # noqa: E402
from otel_perfopt.signal.emit.spans import command, tool  # noqa: E402
from otel_perfopt.signal.frameworks import openai_responses  # noqa: E402

OPENLLMETRY = "openllmetry_openai_anthropic_langchain.tar.gz"
TOOLS = [{"type": "function", "name": "lookup", "parameters": {"type": "object"}}]


@pytest.fixture(autouse=True)
def watched():
    """The official client with its Responses API taken over."""
    done = openai_responses.instrument_module(module)
    assert len(done) == 4
    yield
    for interception in reversed(done):
        interception.undo()


@pytest.fixture
def client(provider):
    with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="none", max_retries=0) as real:
        yield real


@pytest.fixture
def async_client(provider):
    return openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="none", max_retries=0)


def message(text):
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def call(call_id="call_1", arguments='{"key": "ORD-1"}'):
    return {
        "type": "function_call",
        "id": f"fc_{call_id}",
        "call_id": call_id,
        "name": "lookup",
        "arguments": arguments,
        "status": "completed",
    }


REASONING = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "let me see"}]}


def response(*output, response_id="resp_1", status="completed", tokens=100, **more):
    return {
        "id": response_id,
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": "gpt-test-1",
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "usage": {
            "input_tokens": tokens,
            "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 8},
            "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 12},
            "total_tokens": tokens + 20,
        },
        **more,
    }


def events_of(whole):
    """The events of a response, as the API documents them."""
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    events = [{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]
    for position, item in enumerate(whole["output"]):
        at = {"output_index": position, "item_id": item["id"]}
        empty = {"content": []} if item["type"] == "message" else {}
        empty |= {"arguments": ""} if item["type"] == "function_call" else {}
        empty |= {"summary": []} if item["type"] == "reasoning" else {}
        events.append({"type": "response.output_item.added", "output_index": position, "item": {**item, **empty}})
        if item["type"] == "reasoning":
            part = {"summary_index": 0, **at}
            none = {"type": "summary_text", "text": ""}
            events += [
                {"type": "response.reasoning_summary_part.added", "part": none, **part},
                {"type": "response.reasoning_summary_text.delta", "delta": "let me ", **part},
                {"type": "response.reasoning_summary_text.delta", "delta": "see", **part},
                {"type": "response.reasoning_summary_text.done", "text": "let me see", **part},
                {"type": "response.reasoning_summary_part.done", "part": item["summary"][0], **part},
            ]
        elif item["type"] == "function_call":
            events += [
                {"type": "response.function_call_arguments.delta", "delta": item["arguments"], **at},
                {"type": "response.function_call_arguments.done", "arguments": item["arguments"], **at},
            ]
        else:
            text, part = item["content"][0]["text"], {"content_index": 0, **at}
            none = {"type": "output_text", "text": "", "annotations": []}
            events += [
                {"type": "response.content_part.added", "part": none, **part},
                {"type": "response.output_text.delta", "delta": text, "logprobs": [], **part},
                {"type": "response.output_text.done", "text": text, "logprobs": [], **part},
                {"type": "response.content_part.done", "part": item["content"][0], **part},
            ]
        events.append({"type": "response.output_item.done", "output_index": position, "item": item})
    events.append({"type": f"response.{whole['status']}", "response": whole})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


@pytest.fixture
def lookup(spans):
    @tool(effects="read")
    def lookup(key):
        return {"key": key, "state": "open"}

    return lookup


def run_agent(client, lookup, **more):
    """A loop as the API's guide writes it: the reply's items go back in front of the results."""
    items = [{"role": "user", "content": "/query where is ORD-1"}]
    while True:
        reply = client.responses.create(model="gpt-test", input=items, tools=TOOLS, **more)
        items += reply.output
        asked = [item for item in reply.output if item.type == "function_call"]
        if not asked:
            return reply.output_text
        for item in asked:
            result = json.dumps(lookup(**json.loads(item.arguments)))
            items.append({"type": "function_call_output", "call_id": item.call_id, "output": result})


def test_a_loop_is_a_command_with_its_calls(spans, provider, client, lookup):
    """Nothing declared: the user's turn is the command, and the tool call answers the reply that asked for it."""
    provider.play(json_answer(response(REASONING, call())), json_answer(response(message("open"), tokens=160)))
    assert run_agent(client, lookup) == "open"
    assert spans.tree() == [
        ("/query", None),
        ("chat gpt-test", "/query"),
        ("execute_tool lookup", "/query"),
        ("chat gpt-test", "/query"),
    ]
    first, second = spans.of_kind("inference")
    assert first.attributes["gen_ai.usage.input_tokens"] == 100
    assert first.attributes["gen_ai.usage.cache_read.input_tokens"] == 40
    assert first.attributes["gen_ai.usage.cache_write.input_tokens"] == 8
    assert first.attributes["gen_ai.usage.output_tokens"] == 20
    assert first.attributes["gen_ai.usage.reasoning.output_tokens"] == 12
    assert first.attributes["gen_ai.response.model"] == "gpt-test-1"
    assert first.attributes["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert second.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert second.attributes["perfopt.context.resent_tokens"] == 100
    (executed,) = spans.of_kind("tool")
    assert executed.attributes["gen_ai.tool.call.id"] == "call_1"
    assert executed.attributes["perfopt.requested_by"] == format(first.context.span_id, "016x")
    assert spans.one("/query").attributes["perfopt.command.outcome"] == "completed"


def test_a_conversation_that_the_provider_keeps_is_one(spans, provider, client):
    """`previous_response_id` continues the conversation; what it stands for counts as sent again."""
    provider.play(
        json_answer(response(message("a"))),
        json_answer(response(message("b"), response_id="resp_2", tokens=150)),
        json_answer(response(message("c"), response_id="resp_3")),
    )
    client.responses.create(model="gpt-test", input="/query one", instructions="be good")
    client.responses.create(model="gpt-test", input="/query two", previous_response_id="resp_1")
    client.responses.create(model="gpt-test", input="/query three", conversation="conv_9")
    first, second, third = (span.attributes for span in spans.of_kind("inference"))
    assert first["gen_ai.conversation.id"] == second["gen_ai.conversation.id"]
    assert third["gen_ai.conversation.id"] == "conv_9"
    assert second["perfopt.context.resent_tokens"] == 100
    assert len(spans.of_kind("command")) == 3


def test_reasoning_in_a_stream_is_a_thinking_span(spans, provider, client):
    """Each item of reasoning is timed from its first event to its last, inside the call it belongs to."""
    whole = response(REASONING, {**REASONING, "id": "rs_2"}, message("open"))
    provider.play(event_answer(events_of(whole), pause_s=0.004))
    kinds = [
        event.type
        for event in client.responses.create(model="gpt-test", input="hello", stream=True, reasoning={"effort": "low"})
    ]
    assert kinds == [event["type"] for event in events_of(whole)]
    (chat,), thinking = spans.of_kind("inference"), spans.of_kind("thinking")
    assert len(thinking) == 2
    for phase in thinking:
        assert phase.parent.span_id == chat.context.span_id
        assert 0.001 < (phase.end_time - phase.start_time) / 1e9 < (chat.end_time - chat.start_time) / 1e9
        assert "perfopt.duration.estimated" not in phase.attributes
    assert thinking[0].end_time <= thinking[1].start_time
    assert chat.attributes["gen_ai.request.reasoning.level"] == "low"
    assert 0 < chat.attributes["perfopt.time_to_first_token"] < 0.5
    assert chat.attributes["gen_ai.usage.reasoning.output_tokens"] == 12


def test_the_stream_helper_and_parse_are_one_call_each(spans, provider, client):
    """`stream` gives the client's own events and final response; `parse` what it parsed; neither is counted twice."""
    whole = response(call())
    provider.play(event_answer(events_of(whole)), json_answer(response(message("open"))))
    handed = []

    class Interceptor:
        def around_tool(self, call, execute):
            return execute(call)

        def on_reply(self, run, requests, functions):
            handed.extend(requests)

    tool_calls.set_interceptor(Interceptor())
    with client.responses.stream(model="gpt-test", input="hello", tools=TOOLS) as stream:
        seen = [event.type for event in stream]
        assert stream.get_final_response().output[0].call_id == "call_1"
    assert seen[-1] == "response.completed"
    assert [(request.call_id, request.name, dict(request.arguments)) for request in handed] == [
        ("call_1", "lookup", {"key": "ORD-1"})
    ]
    assert client.responses.parse(model="gpt-test", input="hello").output_text == "open"
    assert len(spans.of_kind("inference")) == 2


async def test_asynchronous_calls_and_streams(spans, provider, async_client):
    """The same for the asynchronous client, with calls that overlap kept apart."""
    provider.play(*(event_answer(events_of(response(REASONING, message("open"))), 0.002) for _ in range(3)))

    async def ask(number):
        with command(f"/ask{number}"):
            async with async_client.responses.stream(model="gpt-test", input="hello") as stream:
                return (await stream.get_final_response()).output_text

    async with async_client:
        assert await asyncio.gather(*(ask(number) for number in range(3))) == ["open"] * 3
    for number in range(3):
        (chat,) = [span for span, parent in zip(spans.all, spans.tree(), strict=True) if parent[1] == f"/ask{number}"]
        assert chat.name == "chat gpt-test"
    assert len(spans.of_kind("thinking")) == 3


def test_errors_and_abandoned_streams(spans, provider, client):
    """A refused call raises what the client raises; a stream that is left, or never read, ends its span."""
    provider.play(
        json_answer({"error": {"message": "no", "type": "bad"}}, status=400),
        event_answer(events_of(response(message("open")))),
        event_answer(events_of(response(message("open")))),
    )
    with pytest.raises(openai.BadRequestError, match="no"):
        client.responses.create(model="gpt-test", input="hello")
    with client.responses.create(model="gpt-test", input="hello", stream=True) as stream:
        next(iter(stream))
    del stream
    client.responses.create(model="gpt-test", input="hello", stream=True).close()
    gc.collect()
    failed, left, unread = spans.of_kind("inference")
    assert failed.attributes["error.type"] == "openai.BadRequestError"
    assert "error.type" not in left.attributes
    assert "error.type" not in unread.attributes
    with pytest.raises(TypeError):
        client.responses.create(no_such_argument=1)


@pytest.mark.parametrize("name", ["test_responses_tool_calls", "test_responses_streaming"])
def test_recorded_replies(spans, provider, client, cassettes, name):
    """What the provider really sent is counted as its own usage says, and the client gives the same result."""
    streamed, name = "streaming" in name, f"test_responses/{name}.yaml"
    for number, recorded in enumerate(cassettes(OPENLLMETRY, name)):
        provider.play(recorded.answer, recorded.answer)
        watched_result = client.responses.create(**recorded.request)
        raw = client.responses.with_raw_response.create(**recorded.request)
        if streamed:
            *_, last = watched_result
            whole = last.response
            assert [event.type for event in raw.parse()][-1] == "response.completed"
        else:
            whole = watched_result
            assert raw.parse() == whole
        for span in spans.of_kind("inference")[2 * number : 2 * number + 2]:
            assert span.attributes["gen_ai.response.id"] == whole.id
            assert span.attributes["gen_ai.usage.input_tokens"] == whole.usage.input_tokens
            assert span.attributes["gen_ai.usage.output_tokens"] == whole.usage.output_tokens
            reason = "stop" if streamed else "tool_calls"
            assert span.attributes["gen_ai.response.finish_reasons"] == (reason,)
    assert len(spans.of_kind("inference")) == 2 * (number + 1)


def test_undo_gives_the_client_back():
    """After undoing, the functions have their own code again."""
    functions = [
        vars(owner)[name] for owner in (module.Responses, module.AsyncResponses) for name in ("create", "parse")
    ]
    before = [function.__code__ for function in functions]
    done = openai_responses.instrument_module(module)
    assert [function.__code__ for function in functions] != before
    for interception in reversed(done):
        interception.undo()
    assert [function.__code__ for function in functions] == before
