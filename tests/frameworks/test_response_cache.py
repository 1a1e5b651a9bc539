"""Replies given again through real clients."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.frameworks.conftest import event_answer, json_answer
from tests.frameworks.governing import HELLO, completion, decision
from tests.frameworks.test_anthropic_messages import events_of, message

anthropic = pytest.importorskip("anthropic")
openai = pytest.importorskip("openai")

from otel_perfopt.signal.emit.spans import command  # noqa: E402 - only where the clients are installed

ASKED = {"model": "gpt-5", "messages": HELLO, "temperature": 0}
CALLS = [{"id": "call_1", "type": "function", "function": {"name": "read", "arguments": "{}"}}]


def ask(client, conversation="c1", **more):
    with command("/query", conversation_id=conversation):
        return client.chat.completions.create(**{**ASKED, **more})


def test_an_equal_request_is_answered_without_the_model(provider, gpt, governed, spans):
    """The second reply is a copy of its own, its span says where it came from and brings no tokens."""
    governed(decision("response_cache"))
    provider.play(json_answer(completion()))
    first, second = ask(gpt), ask(gpt)
    assert first == second
    assert first is not second
    assert len(provider.requests) == 1
    said = [span.attributes for span in spans.of_kind("inference")]
    assert [item.get("gen_ai.usage.input_tokens") for item in said] == [5, None]
    assert [item.get("perfopt.cache.hit") for item in said] == [None, True]
    runs = [span.attributes for span in spans.of_kind("command")]
    assert runs[1]["perfopt.policy.response-cache.hits"] == 1


@pytest.mark.parametrize(
    "other",
    [
        {"messages": [{"role": "user", "content": "hello!"}]},
        {"model": "gpt-4"},
        {"temperature": 1},
        {"conversation": "c2"},
        {"seed": 7},
        {"stream": False},
    ],
    ids=str,
)
def test_what_is_asked_otherwise_is_asked_again(provider, gpt, governed, other):
    """Every difference in what is asked, or by whom, is another request."""
    governed(decision("response_cache"))
    provider.play(json_answer(completion("one")), json_answer(completion("two")))
    ask(gpt)
    assert ask(gpt, **other).choices[0].message.content == "two"


def test_replies_that_ask_for_tools_are_kept_only_where_the_policy_says_so(provider, gpt, governed):
    """By default each is asked for anew."""
    governed(decision("response_cache"))
    provider.play(*[json_answer(completion(tool_calls=CALLS))] * 3)
    ask(gpt)
    ask(gpt)
    assert len(provider.requests) == 2
    governed(decision("response_cache", {"tool_calls": True}, digest="d2"))
    ask(gpt)
    ask(gpt)
    assert len(provider.requests) == 3


def test_errors_and_streams_are_never_kept(provider, gpt, claude, governed):
    """A failed request is made again, and a stream is the provider's own each time."""
    governed(decision("response_cache"))
    events = events_of(message({"type": "text", "text": "open"}))
    provider.play(json_answer({"error": {"message": "busy"}}, 500), json_answer(completion()))
    with pytest.raises(openai.InternalServerError):
        ask(gpt)
    assert ask(gpt).choices[0].message.content == "hi"
    provider.play(event_answer(events), event_answer(events))
    for _ in range(2):
        with command("/query"), claude.messages.stream(model="c", max_tokens=9, messages=HELLO) as stream:
            assert "".join(stream.text_stream) == "open"
    assert len(provider.requests) == 4


def test_equal_requests_at_once_are_asked_once(provider, gpt, governed):
    """Those that come while the first is under way get its reply."""
    governed(decision("response_cache", {"scope": "process"}))
    answer = event_answer([])
    answer.kind, answer.pause_s = "application/json", 0.4
    answer.events = [json_answer(completion()).body]
    provider.play(answer)
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(ask(gpt))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.choices[0].message.content for reply in replies] == ["hi"] * 4
    assert len(provider.requests) == 1


async def test_coroutines_share_a_reply_too(provider, governed):
    """One request for three awaiting at once; the ones not sent leave no warning behind."""
    governed(decision("response_cache", {"scope": "process"}))
    provider.play(json_answer(completion()))
    async with openai.AsyncOpenAI(base_url=provider.url, api_key="none", max_retries=0) as client:

        async def one():
            with command("/query"):
                return await client.chat.completions.create(**ASKED)

        replies = await asyncio.gather(one(), one(), one())
    assert [reply.choices[0].message.content for reply in replies] == ["hi"] * 3
    assert len(provider.requests) == 1


def test_in_shadow_the_model_is_asked_and_compared(provider, gpt, governed, spans):
    """Nothing is given from the cache; what it would have said is counted as true or false."""
    governed(decision("response_cache", stage="shadow"))
    provider.play(*[json_answer(completion(text)) for text in ("one", "one", "two")])
    assert [ask(gpt).choices[0].message.content for _ in range(3)] == ["one", "one", "two"]
    runs = [span.attributes for span in spans.of_kind("command")]
    assert [run.get("perfopt.policy.response-cache.shadow.true_hits") for run in runs] == [None, 1, None]
    assert [run.get("perfopt.policy.response-cache.shadow.false_hits") for run in runs] == [None, None, 1]
