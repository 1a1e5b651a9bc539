"""A read starts while the reply that asks for it still streams, with real clients over a slow connection."""

from __future__ import annotations

import contextlib
import importlib
import json
import time

import pytest

from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.snapshot_source import FixedSource
from otel_perfopt.decide.decision import Snapshot
from otel_perfopt.signal.emit import tool_calls
from otel_perfopt.signal.emit.spans import command, tool
from tests.frameworks.conftest import Answer, event_answer
from tests.frameworks.governing import decision

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

from otel_perfopt.signal.frameworks import anthropic_messages, openai_chat  # noqa: E402 - only where they are installed

PAUSE_S = 0.06
KEYS = ("a", "b", "c")


@pytest.fixture(autouse=True)
def watched():
    """Both clients taken over."""
    done = []
    for framework in (openai_chat, anthropic_messages):
        for name in framework.MODULES:
            # A client of another version lacks some of them.
            with contextlib.suppress(ModuleNotFoundError):
                done.extend(framework.instrument_module(importlib.import_module(name)))
    yield
    for interception in reversed(done):
        interception.undo()


@pytest.fixture
def runtime(spans):
    chosen = decision("parallel_tools", effects={"find": "read", "save": "write"})
    made = Runtime(FixedSource(Snapshot(1, time.time_ns(), 3600.0, decisions=(chosen,))))
    tool_calls.set_interceptor(made)
    yield made
    made.close()


def chunk(delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(body)}\n\n".encode()


def chat_stream(asked):
    """Each call's name, its arguments in two parts, then the next one."""
    events = [chunk({"role": "assistant", "content": ""})]
    for index, (name, arguments) in enumerate(asked):
        text = json.dumps(arguments)
        head = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        events.append(chunk({"tool_calls": [head]}))
        parts = ({"index": index, "function": {"arguments": part}} for part in (text[:3], text[3:]))
        events.extend(chunk({"tool_calls": [part]}) for part in parts)
    events += [chunk({}, "tool_calls"), b"data: [DONE]\n\n"]
    return Answer(kind="text/event-stream", events=events, pause_s=PAUSE_S)


def messages_stream(asked):
    usage = {"input_tokens": 5, "output_tokens": 1}
    whole = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    events = [{"type": "message_start", "message": {**whole, "stop_reason": None, "stop_sequence": None}}]
    for index, (name, arguments) in enumerate(asked):
        block = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
        events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    stop = {"stop_reason": "tool_use", "stop_sequence": None}
    events += [{"type": "message_delta", "delta": stop, "usage": {"output_tokens": 9}}, {"type": "message_stop"}]
    return event_answer(events, PAUSE_S)


def read_chat(provider):
    client = openai.OpenAI(base_url=f"{provider.url}/v1", api_key="none", max_retries=0)
    sent = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    for _ in client.chat.completions.create(**sent):
        pass


def read_messages(provider):
    client = anthropic.Anthropic(base_url=provider.url, api_key="none", max_retries=0)
    sent = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    for _ in client.messages.create(**sent):
        pass


def tools():
    made = []

    @tool("find", effects="read")
    def find(key):
        made.append((key, time.monotonic()))
        return f"value of {key}"

    @tool("save", effects="write")
    def save(key):
        made.append((key, time.monotonic()))
        return "saved"

    return find, save, made


CLIENTS = pytest.mark.parametrize(
    ("stream", "read"), [(chat_stream, read_chat), (messages_stream, read_messages)], ids=["openai", "anthropic"]
)


@CLIENTS
def test_reads_begin_before_the_reply_has_ended(provider, runtime, stream, read):
    """The first read is made while the later requests still arrive; the agent's own loop joins all of them in order."""
    find, _, made = tools()
    provider.play(stream([("find", {"key": key}) for key in KEYS]))
    with command("/query", conversation_id="c1"):
        read(provider)
        ended = time.monotonic()
        assert [find(key) for key in KEYS] == [f"value of {key}" for key in KEYS]
    assert sorted(key for key, _ in made) == list(KEYS)
    moments = dict(made)
    assert moments["a"] < ended - 2 * PAUSE_S


@CLIENTS
def test_a_write_that_streams_past_is_still_a_barrier(provider, runtime, stream, read):
    """What is asked for after a write begins when the agent has made the write, however early it was complete."""
    find, save, made = tools()
    asked = [("find", {"key": "a"}), ("save", {"key": "w"}), ("find", {"key": "b"}), ("find", {"key": "c"})]
    provider.play(stream(asked))
    with command("/query", conversation_id="c1"):
        read(provider)
        time.sleep(0.05)
        assert [key for key, _ in made] == ["a"]
        assert find("a") == "value of a"
        assert save("w") == "saved"
        assert [find("b"), find("c")] == ["value of b", "value of c"]
    assert [key for key, _ in made[:2]] == ["a", "w"]
    assert sorted(key for key, _ in made) == ["a", "b", "c", "w"]


@CLIENTS
def test_ids_that_come_again_are_other_calls(provider, runtime, stream, read):
    """Two replies with the same ids, one after another, are two replies."""
    find, _, made = tools()
    provider.play(stream([("find", {"key": key}) for key in KEYS]), stream([("find", {"key": key}) for key in "xyz"]))
    with command("/query", conversation_id="c1"):
        read(provider)
        assert [find(key) for key in KEYS] == [f"value of {key}" for key in KEYS]
        read(provider)
        assert [find(key) for key in "xyz"] == [f"value of {key}" for key in "xyz"]
    assert sorted(key for key, _ in made) == [*KEYS, *"xyz"]
