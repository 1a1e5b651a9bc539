"""Tool results in fewer tokens, as real clients send them."""

from __future__ import annotations

import copy
import itertools
import json

import pytest

from tests.frameworks.conftest import json_answer
from tests.frameworks.governing import HELLO, completion, decision
from tests.frameworks.test_anthropic_messages import message

anthropic = pytest.importorskip("anthropic")
openai = pytest.importorskip("openai")

from otel_perfopt.decide.allocation import Allocation  # noqa: E402 - only where the clients are installed
from otel_perfopt.decide.decision import Match  # noqa: E402
from otel_perfopt.signal.emit.spans import command  # noqa: E402

ROWS = json.dumps([{"order_number": f"ORD-{n}", "state": "open", "total_amount": n} for n in range(20)], indent=2)
FILE = "\n".join(f"line {n} of the file" for n in range(60))
EDITED = FILE.replace("line 30 of", "line thirty of")


def exchange(number, said, tool="read"):
    """A call and its result, as chat completions hold them."""
    call = {"id": f"call_{number}", "type": "function", "function": {"name": tool, "arguments": "{}"}}
    return [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"call_{number}", "content": said},
    ]


def session(client, provider, *results, conversation="c1", tool="read"):
    """Run an agent whose tools say `results`; return what was sent each time."""
    begun, messages = len(provider.requests), list(HELLO)
    with command("/query", conversation_id=conversation):
        for number, said in enumerate(results):
            messages += exchange(number, said, tool)
            before = copy.deepcopy(messages)
            provider.play(json_answer(completion()))
            client.chat.completions.create(model="gpt-5", messages=messages)
            assert messages == before, "the agent's own messages were changed"
    return [body["messages"] for _, body in provider.requests[begun:]]


def contents(messages):
    return [item["content"] for item in messages if item["role"] == "tool"]


def test_each_result_is_shortened_once_and_a_sent_prefix_never_changes(provider, gpt, governed, spans):
    """JSON becomes a table, a repeat is named, a read again shows its changes; what was sent stays word for word."""
    governed(decision("context_compression"))
    sent = session(gpt, provider, ROWS, FILE, ROWS, EDITED)
    table, whole, repeat, changes = contents(sent[-1])
    assert json.loads(table)["columns"] == ["order_number", "state", "total_amount"]
    assert whole == FILE
    assert repeat == "[the same as the result of call call_0]"
    assert changes.startswith("[the result of call call_1, with these changes]\n@@")
    assert "+line thirty of the file" in changes
    for earlier, later in itertools.pairwise(sent):
        assert later[: len(earlier)] == earlier
    saved = [span.attributes["perfopt.context.saved_tokens"] for span in spans.of_kind("inference")]
    assert saved == sorted(saved)
    assert saved[0] * 4 >= len(ROWS) - len(table) - 4


def test_where_early_messages_are_dropped_nothing_refers_to_them(provider, gpt, governed):
    """A result that repeated a dropped one is whole again."""
    governed(decision("context_compression"))
    messages = [*HELLO, *exchange(0, FILE), *exchange(1, FILE)]
    provider.play(*[json_answer(completion())] * 2)
    with command("/query", conversation_id="c1"):
        gpt.chat.completions.create(model="gpt-5", messages=messages)
        gpt.chat.completions.create(model="gpt-5", messages=[*HELLO, *exchange(1, FILE)])
    first, second = (contents(body["messages"]) for _, body in provider.requests)
    assert first == [FILE, "[the same as the result of call call_0]"]
    assert second == [FILE]


def test_a_conversation_that_went_out_whole_stays_so(provider, gpt, governed):
    """A policy that comes in the middle leaves the cached prefix alone; the next conversation is shortened."""
    governed()
    session(gpt, provider, ROWS)
    governed(decision("context_compression"))
    assert contents(session(gpt, provider, ROWS)[-1]) == [ROWS]
    assert contents(session(gpt, provider, ROWS, conversation="c2")[-1]) != [ROWS]


@pytest.mark.parametrize(
    "outside",
    [
        decision("context_compression", allocation=Allocation(baseline=1.0)),
        decision("context_compression", stage="shadow"),
        decision("context_compression", match=Match(tool=("search*",))),
        decision("context_compression", exclude=Match(tool=("read",))),
        decision("context_compression", {"tables": False, "repeats": False, "changes": False}),
    ],
    ids=["baseline", "shadow", "other tools", "excluded", "all off"],
)
def test_what_is_not_meant_is_sent_as_it_is(provider, gpt, governed, outside):
    """Arms, tools and switches hold."""
    governed(outside)
    assert contents(session(gpt, provider, ROWS, ROWS)[-1]) == [ROWS, ROWS]


def test_long_results_lose_their_middle_only_where_the_policy_says_so(provider, gpt, governed):
    """Beginning and end stay, and the model is told what is missing."""
    governed(decision("context_compression", {"max_chars": 300}))
    (said,) = contents(session(gpt, provider, FILE)[-1])
    assert said.startswith("line 0 of the file\n")
    assert said.endswith("line 59 of the file")
    assert "characters left out" in said
    assert len(said) < 400


def test_responses_and_messages_are_shortened_too(provider, gpt, claude, governed):
    """Each API keeps results in its own place."""
    governed(decision("context_compression"))
    items = [
        {"role": "user", "content": "hello"},
        {"type": "function_call", "call_id": "c_1", "name": "read", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c_1", "output": ROWS},
    ]
    blocks = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t_1", "name": "read", "input": {}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t_1", "content": [{"type": "text", "text": ROWS}]},
                {"type": "text", "text": "and now?"},
            ],
        },
    ]
    answer = {"id": "resp_1", "object": "response", "created_at": 0, "status": "completed", "model": "m", "output": []}
    more = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    provider.play(json_answer({**answer, **more}), json_answer(message({"type": "text", "text": "ok"})))
    with command("/query", conversation_id="c1"):
        gpt.responses.create(model="gpt-5", input=items)
        claude.messages.create(model="claude-test", max_tokens=9, messages=blocks)
    (_, first), (_, second) = provider.requests
    assert json.loads(first["input"][2]["output"])["columns"][0] == "order_number"
    result, text = second["messages"][2]["content"]
    assert json.loads(result["content"][0]["text"])["columns"][0] == "order_number"
    assert text == {"type": "text", "text": "and now?"}
