"""Prompts that a provider would cache whole are not made too small for it, as real clients send them."""

from __future__ import annotations

import itertools

import pytest

from tests.frameworks.conftest import json_answer
from tests.frameworks.governing import completion, decision

openai = pytest.importorskip("openai")

from otel_perfopt.act.cache_floor import CacheFloor  # noqa: E402 - only where the client is installed
from otel_perfopt.signal.emit.spans import command  # noqa: E402

SELECT = {"min_chars": 50, "max_sections": 1}
LEFT_WHOLE = "perfopt.policy.selective-context.left_whole"


def prompt(rules, sections):
    """Instructions of about so many tokens, before reference sections of about so many."""
    texts = [f"## Topic {number}\n\n{'lorem ipsum ' * 33}" for number in range(sections // 100)]
    return {"role": "system", "content": "\n\n".join(["Be kind. " * (rules * 4 // 9), "# Documentation", *texts])}


def talk(system, turns, tokens=100):
    """The growing histories of a conversation's requests."""
    messages = [system, {"role": "user", "content": "word " * (tokens * 4 // 5)}]
    for _ in range(turns):
        yield list(messages)
        messages += [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": "word " * (tokens * 4 // 5)}]


def sent_of(client, provider, histories, **more):
    begun = len(provider.requests)
    with command("/query", conversation_id="c1"):
        for messages in histories:
            provider.play(json_answer(completion()))
            client.chat.completions.create(model="gpt-5", messages=messages, **more)
    return [body["messages"] for _, body in provider.requests[begun:]]


def test_a_prompt_that_would_fall_below_the_floor_stays_whole_for_good(provider, gpt, governed, spans):
    """2,000 tokens whole and 400 shortened: whole from the first request on, also once either would be cached."""
    governed(decision("selective_context", SELECT))
    histories = list(talk(prompt(200, 1700), 12, tokens=300))
    assert sent_of(gpt, provider, histories) == histories
    (run,) = spans.of_kind("command")
    assert run.attributes[LEFT_WHOLE] == 12
    assert "perfopt.policy.selective-context.applied" not in run.attributes


@pytest.mark.parametrize("size", [(2000, 3000), (150, 9000)], ids=["cached-when-shortened", "shorter-than-a-tenth"])
def test_a_prompt_that_costs_less_shortened_is_shortened_from_the_first_request_on(
    provider, gpt, governed, spans, size
):
    """Above the floor either way, or so short that in full it costs less than the whole from the cache."""
    governed(decision("selective_context", SELECT))
    sent = sent_of(gpt, provider, talk(prompt(*size), 6))
    assert all("lorem" not in messages[0]["content"] for messages in sent)
    assert all(later[: len(earlier)] == earlier for earlier, later in itertools.pairwise(sent))
    (run,) = spans.of_kind("command")
    assert LEFT_WHOLE not in run.attributes


def test_a_small_prompt_is_shortened_until_it_could_be_cached_whole(provider, gpt, governed, spans):
    """Too small to be cached either way it is shortened; once whole it would be cached it goes out whole, for good."""
    governed(decision("selective_context", SELECT))
    histories = list(talk(prompt(100, 400), 14))
    sent = sent_of(gpt, provider, histories)
    shortened = [messages != history for messages, history in zip(sent, histories, strict=True)]
    (run,) = spans.of_kind("command")
    assert shortened == sorted(shortened, reverse=True)
    assert 0 < sum(shortened) < 14
    assert run.attributes[LEFT_WHOLE] == 14 - sum(shortened)


def test_another_process_decides_alike_in_the_middle_of_a_conversation(provider, gpt, governed):
    """What a conversation began with says it; nothing needs to be remembered."""
    governed(decision("selective_context", SELECT))
    histories = list(talk(prompt(200, 1700), 12, tokens=300))
    assert sent_of(gpt, provider, histories[-1:]) == histories[-1:]


def test_a_history_is_cut_only_where_enough_is_left_to_be_cached(provider, gpt, governed):
    """A bound below the floor cuts nothing of a prompt that is cached whole; one above it cuts."""
    histories = list(talk({"role": "system", "content": "Be kind."}, 40))
    governed(decision("selective_context", {"max_history_chars": 2000}))
    assert sent_of(gpt, provider, histories[18:19]) == histories[18:19]
    governed(decision("selective_context", {"max_history_chars": 11_000}))
    (sent,) = sent_of(gpt, provider, histories[-1:])
    assert len(sent) < len(histories[-1])


def test_a_conversation_that_the_provider_holds_goes_by_what_comes_with_every_request(provider, gpt, governed):
    """Instructions that are cached whole stay so, however little is said with a request."""
    governed(decision("selective_context", SELECT))
    system = prompt(200, 1700)["content"]
    answer = {"id": "resp_1", "object": "response", "created_at": 0, "status": "completed", "model": "m", "output": []}
    more = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    provider.play(*(json_answer({**answer, **more}) for _ in range(2)))
    with command("/query", conversation_id="c1"):
        gpt.responses.create(model="gpt-5", instructions=system, input="Hello", previous_response_id="resp_0")
        gpt.responses.create(model="gpt-5", instructions=prompt(2000, 3000)["content"], input="Hello")
    (_, first), (_, second) = provider.requests
    assert first["instructions"] == system
    assert "lorem" not in second["instructions"]
    assert second["input"][0] == {"role": "user", "content": "Hello"}


def test_floors_go_by_the_model():
    """Where a provider begins to cache and what it asks then differ by model; of others' models nothing is refused."""
    assert not CacheFloor("gpt-4o-mini").refuses(8000, 3000)
    assert CacheFloor("gpt-4o-mini").refuses(8000, 4500)
    assert not CacheFloor("a-local-model").refuses(8000, 3000)
    assert CacheFloor("gpt-5").refuses(8000, 3000)
    assert not CacheFloor("claude-haiku-4-5").refuses(8000, 3000)
    assert CacheFloor("claude-haiku-4-5").refuses(16_000, 6000)
    assert not CacheFloor("claude-sonnet-4-5").refuses(16_000, 6000)
    assert CacheFloor("claude-next").refuses(3000, 2000)
    assert CacheFloor("claude-next").refuses(20_000, 16_000)
