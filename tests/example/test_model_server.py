"""The local model: usage that adds up, a prefix cache that is real, time by tokens, errors by digest."""

from __future__ import annotations

import json
import time

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import latency
from support.agent import SYSTEM_PROMPT, default_client
from support.decisions import decide
from support.launch import running_backends
from support.model_server import Model
from support.prefix_cache import BLOCK_CHARACTERS, PrefixCache, count_tokens
from support.schemas import TOOL_SCHEMAS

QUESTION = {"role": "user", "content": "/query Where is my order O-1001? I am customer C-001."}
ALL_TOOLS = {schema["function"]["name"] for schema in TOOL_SCHEMAS}


def ask(messages=(QUESTION,), client=None, **more):
    completions = (client or default_client()).chat.completions
    return completions.create(model="support-model", messages=list(messages), tools=TOOL_SCHEMAS, **more)


def test_the_reply_asks_for_several_independent_reads_and_reports_usage(backends):
    """Tool calls come as the API says, and total tokens are prompt plus completion."""
    completion = ask()
    assert [call.function.name for call in completion.choices[0].message.tool_calls] == [
        "get_customer",
        "list_orders",
        "search_docs",
    ]
    assert completion.choices[0].finish_reason == "tool_calls"
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert completion.usage.completion_tokens > 0


def test_a_seen_prefix_is_read_from_the_cache_and_a_changed_head_is_not(backends):
    """The second request of one prefix is cached up to its last words; a new first word makes all of it new."""
    head = {"role": "system", "content": f"{time.time()} {SYSTEM_PROMPT}"}
    first, second = ask(messages=[head, QUESTION]), ask(messages=[head, QUESTION])
    changed = ask(messages=[{"role": "system", "content": "!" + head["content"]}, QUESTION])
    of = [each.usage.prompt_tokens_details.cached_tokens for each in (first, second, changed)]
    assert of[1] == second.usage.prompt_tokens
    assert of[0] < 0.4 * first.usage.prompt_tokens
    assert of[2] < 0.4 * changed.usage.prompt_tokens


def test_time_follows_the_stated_rates(backends):
    """A prompt of 20,000 new tokens takes a second; the same prompt, seen before, takes much less."""
    messages = [{"role": "system", "content": f"{time.time()}" + "word " * 16_000}, QUESTION]
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        ask(messages=messages)
        seconds.append(time.perf_counter() - started)
    assert seconds[0] >= 16_000 * 5 / 4 / latency.PREFILL_TOKENS_PER_S
    assert seconds[1] < 0.7 * seconds[0]


def test_a_stream_adds_up_to_the_whole_reply_and_ends_with_usage(backends):
    """Joined deltas are the calls of the whole reply, and usage comes last when asked for."""
    whole, chunks = ask().choices[0].message, list(ask(stream=True, stream_options={"include_usage": True}))
    calls = {}
    for chunk in chunks:
        for choice in chunk.choices:
            for part in choice.delta.tool_calls or ():
                name, arguments = calls.get(part.index, ("", ""))
                calls[part.index] = name + (part.function.name or ""), arguments + part.function.arguments
    assert list(calls.values()) == [(call.function.name, call.function.arguments) for call in whole.tool_calls]
    assert chunks[-1].usage.completion_tokens > 0
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_one_call_at_a_time_when_parallel_calls_are_off(backends):
    """`parallel_tool_calls: false` gives one call a reply, as the API promises."""
    assert len(ask(parallel_tool_calls=False).choices[0].message.tool_calls) == 1


def test_an_invalid_request_is_refused(backends):
    """A request without messages is the caller's error, not the server's."""
    with pytest.raises(openai.BadRequestError):
        default_client().post("/chat/completions", body={"model": "support-model"}, cast_to=object)


def failure_of_attempt(client, number: int):
    """Return the kind of error one attempt at the same request ends with, or None."""
    try:
        ask(client=client, extra_headers={"x-stainless-retry-count": str(number)})
    except openai.APIStatusError as error:
        return type(error)
    return None


def test_injected_errors_are_the_same_each_time_and_passed_by_a_retry(tmp_path):
    """The same requests fail in two runs alike, at about the stated rate, and a later attempt gets through."""
    model = Model(error_rate=0.3)
    bodies = [json.dumps({"n": n}).encode() for n in range(2000)]
    statuses = [model.injected_error(body, "0") for body in bodies]
    assert statuses == [Model(error_rate=0.3).injected_error(body, "0") for body in bodies]
    assert 0.25 < sum(status is not None for status in statuses) / len(bodies) < 0.35
    assert {429, 500} < {*statuses}
    assert not any(Model().injected_error(body, "0") for body in bodies)

    with (
        running_backends(tmp_path, back_office=False, error_rate=0.5) as env,
        openai.OpenAI(base_url=env["OPENAI_BASE_URL"], api_key="x", max_retries=0) as client,
    ):
        failures = [failure_of_attempt(client, number) for number in range(12)]
    assert None in failures
    assert {openai.RateLimitError, openai.InternalServerError} >= set(failures) - {None} != set()


@given(st.lists(st.text(max_size=3 * BLOCK_CHARACTERS), max_size=6))
def test_the_prefix_cache_counts_each_token_once(texts):
    """Nothing is cached that was not seen, all of it is the second time, and a longer prompt keeps its prefix."""
    cache = PrefixCache()
    total, _ = cache.read(texts)
    assert cache.read(texts) == (total, total)
    longer, cached = cache.read([*texts, "something new"])
    assert (longer - total, cached) == (count_tokens("something new"), total)


def test_the_prefix_cache_is_bounded():
    """Old prefixes are forgotten: memory does not grow with traffic."""
    cache = PrefixCache(max_blocks=10)
    for number in range(100):
        cache.read([str(number)])
    assert len(cache._seen) == 10
    assert cache.read(["99"]) == (1, 1)
    assert cache.read(["0"]) == (1, 0)


@pytest.mark.parametrize("messages", [[], [{"role": "system", "content": "x"}], [{"role": "user", "content": "hi"}]])
def test_the_model_asks_back_when_it_knows_too_little(messages):
    """Without a customer and an order there is nothing to look up, and it says so."""
    assert "customer number" in decide(messages, ALL_TOOLS).content


def test_a_rule_that_is_not_in_the_context_is_not_given():
    """With the documentation taken out of the system prompt the model has no rule to give."""
    found = {"results": [{"title": "Delivery times"}]}
    calls = [{"id": str(n), "function": {"name": "search_docs", "arguments": "{}"}} for n in range(8)]
    results = [{"role": "tool", "tool_call_id": str(n), "content": json.dumps(found)} for n in range(8)]
    messages = [QUESTION, {"role": "assistant", "tool_calls": calls}, *results]
    whole = decide([{"role": "system", "content": SYSTEM_PROMPT}, *messages], ALL_TOOLS).content
    bare = decide([{"role": "system", "content": "Be kind."}, *messages], ALL_TOOLS).content
    assert "within four working days" in whole
    assert "no rule" in bare
