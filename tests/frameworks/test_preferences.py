"""Preferences as people state them, with a real client: what the provider is asked, and what the span says."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from opentelemetry import baggage, context, propagate

from tests.frameworks.conftest import json_answer
from tests.frameworks.governing import HELLO, completion, decision

openai = pytest.importorskip("openai")

import otel_perfopt  # noqa: E402 - only where the client is installed
from otel_perfopt.conventions import PREFERENCE, PREFERENCE_SOURCE  # noqa: E402
from otel_perfopt.decide.decision import Match  # noqa: E402
from otel_perfopt.signal.emit.preference import prefer_in_process  # noqa: E402
from otel_perfopt.signal.emit.spans import command  # noqa: E402

FOR_SPEED = Match(command=("/query",), preference=("speed",))


@pytest.fixture(autouse=True)
def environment():
    """No test leaves a preference of the process behind."""
    yield
    prefer_in_process("")


def ask(gpt, **asked):
    with command("/query", conversation_id="c1"):
        gpt.chat.completions.create(model="gpt-5", messages=HELLO, reasoning_effort="high", **asked)


def efforts(provider):
    return [body["reasoning_effort"] for _, body in provider.requests]


def test_two_policies_route_each_preference_its_way(provider, gpt, governed, spans):
    """Speed gets less thinking, cost another model, and whoever states nothing gets what the agent asks for."""
    governed(
        decision("effort_routing", {"effort": "low"}, match=FOR_SPEED),
        decision("model_routing", {"model": "gpt-small"}, match=Match(preference=("cost",))),
    )
    provider.play(*[json_answer(completion())] * 3)
    with otel_perfopt.prefer("speed"):
        ask(gpt)
    with otel_perfopt.prefer("cost"):
        ask(gpt)
    ask(gpt)
    asked = [(body["model"], body["reasoning_effort"]) for _, body in provider.requests]
    assert asked == [("gpt-5", "low"), ("gpt-small", "high"), ("gpt-5", "high")]
    told = [
        (span.attributes.get(PREFERENCE), span.attributes.get(PREFERENCE_SOURCE)) for span in spans.of_kind("command")
    ]
    assert told == [("speed", "stated"), ("cost", "stated"), (None, None)]


def test_baggage_from_another_service_is_enough(provider, gpt, governed, spans):
    """What a caller's header says is heard; a word nobody knows counts as not stated."""
    governed(decision("effort_routing", {"effort": "low"}, match=FOR_SPEED))
    provider.play(*[json_answer(completion())] * 2)
    for word in ("Speed", "warp"):
        token = context.attach(propagate.extract({"baggage": f"perfopt.preference={word},user.id=ada"}))
        ask(gpt)
        context.detach(token)
    assert efforts(provider) == ["low", "high"]
    assert [span.attributes.get(PREFERENCE) for span in spans.of_kind("command")] == ["speed", None]


def test_the_environment_speaks_for_commands_that_state_nothing(provider, gpt, governed, spans):
    """A process that prefers speed does so unless somebody says otherwise."""
    governed(decision("effort_routing", {"effort": "low"}, match=FOR_SPEED))
    provider.play(*[json_answer(completion())] * 2)
    prefer_in_process("speed")
    ask(gpt)
    with otel_perfopt.prefer("quality"):
        ask(gpt)
    assert efforts(provider) == ["low", "high"]
    assert [span.attributes[PREFERENCE_SOURCE] for span in spans.of_kind("command")] == ["environment", "stated"]


def test_a_command_may_state_it_inside_before_its_first_call(provider, gpt, governed, spans):
    """Until something was decided by it the block counts for the command around; afterwards the command keeps what it had."""
    governed(decision("effort_routing", {"effort": "low"}, match=FOR_SPEED))
    provider.play(*[json_answer(completion())] * 3)
    with command("/query", conversation_id="c1"):
        with otel_perfopt.prefer("speed"):
            gpt.chat.completions.create(model="gpt-5", messages=HELLO, reasoning_effort="high")
        with otel_perfopt.prefer("quality"):
            gpt.chat.completions.create(model="gpt-5", messages=HELLO, reasoning_effort="high")
    with command("/query", conversation_id="c2"):
        gpt.chat.completions.create(model="gpt-5", messages=HELLO, reasoning_effort="high")
    assert efforts(provider) == ["low", "low", "high"]
    assert [span.attributes.get(PREFERENCE) for span in spans.of_kind("command")] == ["speed", None]


def test_what_is_said_after_something_was_decided_is_not_heard(provider, gpt, governed, spans):
    """The environment's word was acted upon: the command keeps it, and its span says so."""
    governed(decision("effort_routing", {"effort": "low"}, match=FOR_SPEED))
    provider.play(*[json_answer(completion())] * 2)
    prefer_in_process("speed")
    with command("/query", conversation_id="c1"):
        gpt.chat.completions.create(model="gpt-5", messages=HELLO, reasoning_effort="high")
        with otel_perfopt.prefer("quality"):
            gpt.chat.completions.create(model="gpt-5", messages=HELLO, reasoning_effort="high")
    assert efforts(provider) == ["low", "low"]
    assert spans.of_kind("command")[0].attributes[PREFERENCE] == "speed"


def test_a_command_nobody_declared_has_a_preference_too(provider, gpt, governed, spans):
    """Also where commands are inferred from model calls the block around the call is heard."""
    governed(decision("effort_routing", {"effort": "low"}, match=Match(preference=("speed",))))
    provider.play(json_answer(completion()))
    with otel_perfopt.prefer("speed"):
        gpt.chat.completions.create(model="gpt-5", messages=HELLO, reasoning_effort="high")
    assert efforts(provider) == ["low"]
    assert spans.of_kind("command")[0].attributes[PREFERENCE] == "speed"


def test_concurrent_tasks_and_threads_keep_theirs():
    """What one task or thread states is not heard in another, and nothing stays behind."""
    heard = {}

    async def one(word):
        async with otel_perfopt.prefer(word):
            await asyncio.sleep(0.01)
            heard[word] = baggage.get_baggage(PREFERENCE)

    async def both():
        await asyncio.gather(one("speed"), one("quality"))

    asyncio.run(both())
    with otel_perfopt.prefer("speed"):
        thread = threading.Thread(target=lambda: heard.update(thread=baggage.get_baggage(PREFERENCE)))
        thread.start()
        thread.join(5)
    assert heard == {"speed": "speed", "quality": "quality", "thread": None}
    assert baggage.get_baggage(PREFERENCE) is None


def test_blocks_nest_and_anything_unknown_states_nothing():
    """The innermost known word holds; odd values, and errors inside, change nothing for what is around."""
    with otel_perfopt.prefer("quality"):
        with contextlib.suppress(KeyError), otel_perfopt.prefer("speed"):
            assert baggage.get_baggage(PREFERENCE) == "speed"
            raise KeyError
        for odd in ("", "warp", "x" * 5000, None, 7, ["speed"]):
            with otel_perfopt.prefer(odd):
                assert baggage.get_baggage(PREFERENCE) == "quality"
    assert baggage.get_baggage(PREFERENCE) is None
