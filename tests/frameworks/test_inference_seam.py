from __future__ import annotations

import pytest

from tests.frameworks.conftest import event_answer, json_answer
from tests.frameworks.governing import HELLO, completion, decision
from tests.frameworks.test_anthropic_messages import events_of, message

anthropic = pytest.importorskip("anthropic")
openai = pytest.importorskip("openai")

from otel_perfopt.decide.allocation import Allocation  # noqa: E402 - only where the clients are installed
from otel_perfopt.signal.emit import inference_calls  # noqa: E402
from otel_perfopt.signal.emit.faults import faults  # noqa: E402
from otel_perfopt.signal.emit.spans import command  # noqa: E402

CHAT = completion()
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 0,
    "status": "completed",
    "model": "gpt-5-1",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
BUDGET = {"type": "enabled", "budget_tokens": 9000}


def effort(treatment=1.0, stage="canary-1", **parameters):
    allocation = Allocation(treatment, 1 - treatment)
    told = {"effort": "low", **parameters}
    return decision("effort_routing", told, policy="less-effort", stage=stage, allocation=allocation)


def ask_chat(client, **more):
    with command("/query", conversation_id="c1"):
        return client.chat.completions.create(model="gpt-5", messages=HELLO, **more)


def test_a_chat_asks_for_less_effort_where_the_policy_says_so(provider, gpt, governed, spans):
    """What is sent is lowered, what asks for less stays, and the run says its arm and how often."""
    governed(effort())
    provider.play(*[json_answer(CHAT)] * 3)
    for asked in ({"reasoning_effort": "high"}, {"reasoning_effort": "minimal"}, {}):
        assert ask_chat(gpt, **asked).choices[0].message.content == "hi"
    assert [body["reasoning_effort"] for _, body in provider.requests] == ["low", "minimal", "low"]
    runs = spans.of_kind("command")
    assert [run.attributes["perfopt.policy.less-effort.arm"] for run in runs] == ["treatment"] * 3
    assert [run.attributes.get("perfopt.policy.less-effort.applied") for run in runs] == [1, None, 1]


def test_responses_and_messages_are_lowered_too(provider, gpt, claude, governed):
    """Each API says it in its own words."""
    governed(effort())
    provider.play(json_answer(RESPONSE), json_answer(message({"type": "text", "text": "ok"})))
    with command("/query"):
        gpt.responses.create(model="gpt-5", input="hello", reasoning={"effort": "high", "summary": "auto"})
        claude.messages.create(model="claude-test", max_tokens=9, messages=HELLO, thinking=BUDGET)
    assert provider.requests[0][1]["reasoning"] == {"effort": "low", "summary": "auto"}
    assert provider.requests[1][1]["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert BUDGET["budget_tokens"] == 9000, "the agent's own object was changed"


async def test_async_calls_and_managers_are_lowered_too(provider, claude, governed):
    """The call that was begun with the agent's arguments is dropped without a warning."""
    governed(effort())
    events = events_of(message({"type": "text", "text": "open"}))
    provider.play(json_answer(CHAT), event_answer(events), event_answer(events))
    async_gpt = openai.AsyncOpenAI(base_url=provider.url, api_key="none", max_retries=0)
    async_claude = anthropic.AsyncAnthropic(base_url=provider.url, api_key="none", max_retries=0, open_telemetry=False)
    asked = {"model": "claude-test", "max_tokens": 9, "messages": HELLO, "thinking": BUDGET}
    async with async_gpt, async_claude:
        with command("/query"):
            reply = await async_gpt.chat.completions.create(model="gpt-5", messages=HELLO, reasoning_effort="high")
            with claude.messages.stream(**asked) as stream:
                assert "".join(stream.text_stream) == "open"
            async with async_claude.messages.stream(**asked) as stream:
                assert "".join([text async for text in stream.text_stream]) == "open"
    assert reply.choices[0].message.content == "hi"
    bodies = [body for _, body in provider.requests]
    assert bodies[0]["reasoning_effort"] == "low"
    assert [body["thinking"]["budget_tokens"] for body in bodies[1:]] == [2048, 2048]


@pytest.mark.parametrize(
    "outside",
    [effort(treatment=0.0), effort(stage="shadow"), effort(max_context_chars=3)],
    ids=["baseline", "shadow", "long"],
)
def test_baseline_shadow_and_long_contexts_are_sent_as_the_agent_made_them(provider, gpt, governed, outside):
    """Nothing of the request changes outside treatment."""
    governed(outside)
    provider.play(json_answer(CHAT))
    ask_chat(gpt, reasoning_effort="high")
    assert provider.requests[0][1]["reasoning_effort"] == "high"


def test_what_the_provider_refuses_rewritten_is_sent_as_the_agent_made_it(provider, gpt, governed):
    """The agent gets its reply, the refusal counts against the optimization, and three of them open its breaker."""
    runtime = governed(effort())
    refusal = json_answer({"error": {"message": "unsupported value: low"}}, status=400)
    provider.play(*[refusal, json_answer(CHAT)] * 3, json_answer(CHAT))
    for _ in range(4):
        assert ask_chat(gpt, reasoning_effort="high").choices[0].message.content == "hi"
    assert [body["reasoning_effort"] for _, body in provider.requests] == ["low", "high"] * 3 + ["high"]
    assert runtime.faults.breakers["effort_routing"].faults == 3
    faults.clear()


def test_an_agents_own_mistake_stays_its_own(provider, gpt, governed):
    """A request that is wrong either way raises what the plain request raises."""
    governed(effort())
    refusal = json_answer({"error": {"message": "no such model"}}, status=404)
    provider.play(refusal, refusal)
    with pytest.raises(openai.NotFoundError):
        ask_chat(gpt, reasoning_effort="high")
    faults.clear()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_broken_interceptor_leaves_the_plain_call(provider, gpt, governed, when):
    """Whatever it raises, before or after the call was made, the agent sees one plain call."""

    class Broken:
        def around_inference(self, call, execute):
            if when == "after":
                execute(call)
            raise RuntimeError("ours")

    inference_calls.set_inference_interceptor(Broken())
    provider.play(json_answer(CHAT))
    assert ask_chat(gpt).choices[0].message.content == "hi"
    assert len(provider.requests) == 1
    assert faults["inference interceptor"] == 1
    faults.clear()
