"""Second tries and other endpoints, through real clients and real HTTP."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from tests.frameworks.conftest import Provider, event_answer, json_answer
from tests.frameworks.governing import HELLO, completion, decision

openai = pytest.importorskip("openai")

from otel_perfopt.signal.emit.spans import command  # noqa: E402 - only where the client is installed

BUSY = {"error": {"message": "internal"}}


def ask(client, conversation="c1"):
    with command("/query", conversation_id=conversation):
        reply = client.chat.completions.create(model="gpt-5", messages=HELLO)
    return reply.choices[0].message.content


def slow(content, seconds):
    answer = event_answer([])
    answer.kind, answer.pause_s, answer.events = (
        "application/json",
        seconds,
        [b" ", json_answer(completion(content)).body],
    )
    return answer


def run_of(spans, number=-1):
    return spans.of_kind("command")[number].attributes


def test_a_slow_call_gets_a_twin_and_the_first_reply_counts(provider, gpt, governed, spans):
    """One reply, one span, and the run says that there was a twin."""
    governed(decision("retry_hedge", {"hedge_after_s": 0.8, "budget": 0.5}))
    for _ in range(2):  # what is earned before
        provider.play(json_answer(completion()))
        ask(gpt)
    provider.play(slow("slow", 3.0), json_answer(completion("fast")))
    assert ask(gpt) == "fast"
    assert len(provider.requests) == 4
    assert run_of(spans)["perfopt.policy.retry-hedge.hedges"] == 1
    assert len(spans.of_kind("inference")) == 3


async def test_coroutines_get_twins_and_losers_are_cancelled(provider, governed):
    """The same for asynchronous calls."""
    governed(decision("retry_hedge", {"hedge_after_s": 0.8, "budget": 0.5}))
    async with openai.AsyncOpenAI(base_url=provider.url, api_key="none", max_retries=0) as client:
        provider.play(json_answer(completion()), json_answer(completion()), slow("slow", 3.0))
        provider.play(json_answer(completion("fast")))
        said = []
        for _ in range(3):
            with command("/query"):
                reply = await client.chat.completions.create(model="gpt-5", messages=HELLO)
            said.append(reply.choices[0].message.content)
    assert said == ["hi", "hi", "fast"]


def test_the_budget_bounds_what_is_tried_again(provider, gpt, governed):
    """With nothing saved up, a failure stays the agent's."""
    governed(decision("retry_hedge", {"retries": 3, "budget": 0.01, "backoff_s": 0.01}))
    provider.play(json_answer(BUSY, 500))
    with pytest.raises(openai.InternalServerError):
        ask(gpt)
    assert len(provider.requests) == 1


def test_passing_failures_are_tried_again_and_refusals_are_not(provider, gpt, governed, spans):
    """A 500 gets another try; overload and a wrong request do not."""
    governed(decision("retry_hedge", {"retries": 1, "budget": 0.5, "backoff_s": 0.01}))
    for _ in range(3):
        provider.play(json_answer(completion()))
        ask(gpt)
    provider.play(json_answer(BUSY, 500), json_answer(completion("again")))
    assert ask(gpt) == "again"
    assert run_of(spans)["perfopt.policy.retry-hedge.retries"] == 1
    provider.play(json_answer(BUSY, 429), json_answer(BUSY, 400))
    with pytest.raises(openai.RateLimitError):
        ask(gpt)
    with pytest.raises(openai.BadRequestError):
        ask(gpt)
    assert len(provider.requests) == 7


@pytest.fixture
def other():
    """Another endpoint of the same API."""
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_conversations_are_spread_and_stay_where_they_began(provider, other, gpt, governed, spans):
    """Both endpoints get calls; one conversation's all go to the same."""
    governed(decision("endpoint_balancing", {"endpoints": [other.url]}))
    for server in (provider, other):
        server.play(*[json_answer(completion())] * 40)
    for number in range(20):
        begun = Counter({"own": len(provider.requests), "other": len(other.requests)})
        for _ in range(2):
            ask(gpt, f"c{number}")
        now = Counter({"own": len(provider.requests), "other": len(other.requests)})
        assert sorted((now - begun).values()) == [2]
    assert provider.requests
    assert other.requests
    assert spans.of_kind("inference")[0].attributes["server.address"] == "127.0.0.1"


def test_a_failing_endpoint_is_left_and_the_agents_own_answers(provider, other, gpt, governed):
    """The agent never sees another endpoint's failure; after a few of them nobody is sent there."""
    governed(decision("endpoint_balancing", {"endpoints": [other.url], "eject_after": 2, "eject_for_s": 60}))
    provider.play(*[json_answer(completion())] * 40)
    other.play(*[json_answer(BUSY, 503)] * 40)
    assert {ask(gpt, f"c{number}") for number in range(30)} == {"hi"}
    assert len(other.requests) == 2
    assert len(provider.requests) == 30
