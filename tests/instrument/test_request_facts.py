"""What is said of a model call's request beside its content: digest, tools offered, instructions said twice."""

from __future__ import annotations

import json
import uuid

import pytest

from otel_perfopt import conventions as c
from otel_perfopt.act.context_compression import table_saving
from otel_perfopt.act.prompt_tidy import repeated_chars
from otel_perfopt.signal.emit import shorter_forms, tool_span
from otel_perfopt.signal.emit.finisher import Finisher
from otel_perfopt.signal.emit.request_facts import request_facts
from otel_perfopt.signal.emit.snapshot import MAX_BYTES
from otel_perfopt.signal.emit.spans import command

MODEL = "test-model"
TOOL = {"type": "function", "function": {"name": "look", "description": "x" * 200, "parameters": {"type": "object"}}}
RULE = "Never promise a date that the carrier has not confirmed."


@pytest.fixture(autouse=True)
def asked():
    """Whoever shortens what is sent is asked, as in an instrumented process."""
    shorter_forms.shorten_with(repeated_chars, table_saving)
    yield
    shorter_forms.shorten_with(None, None)


def facts(**kwargs):
    return request_facts({"model": MODEL, **kwargs}).attributes()


def turn(identity, text="order O-1"):
    call = {"id": identity, "type": "function", "function": {"name": "look", "arguments": '{"of": "O-1"}'}}
    return [
        {"role": "user", "content": text},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": identity, "content": "sent"},
    ]


def test_the_same_question_has_the_same_digest_whatever_its_ids():
    """Ids of calls, time limits and metadata are not what is asked; temperature, text, tools and model are."""
    one = facts(messages=turn(f"call_{uuid.uuid4()}"), timeout=3, metadata={"session_id": "a"}, temperature=0)
    other = facts(messages=turn("call_2"), metadata={"session_id": "b"}, temperature=0)
    assert one[c.REQUEST_DIGEST] == other[c.REQUEST_DIGEST]
    differing = [
        facts(messages=turn("call_2", "order O-2"), temperature=0),
        facts(messages=turn("call_2"), temperature=1),
        facts(messages=turn("call_2"), temperature=0, tools=[TOOL]),
        facts(messages=turn("call_2"), temperature=0, model="other"),
    ]
    assert len({one[c.REQUEST_DIGEST], *(found[c.REQUEST_DIGEST] for found in differing)}) == 5


def test_what_nobody_else_could_answer_has_no_digest():
    """Streams, requests the provider keeps something of, the host's own objects, and what is too large."""
    messages = turn("call_1")
    for odd in (
        {"stream": True},
        {"store": True},
        {"extra_body": {}},
        {"messages": [object()]},
        {"messages": [{"role": "user", "content": "x" * (MAX_BYTES + 1)}]},
    ):
        assert c.REQUEST_DIGEST not in facts(**{"messages": messages, **odd})
    assert facts(messages=messages, stream=True, tools=[TOOL])[c.TOOLS_OFFERED] == 1


def test_tools_are_named_with_about_their_length():
    """Each tool's name, and four characters of its JSON a token."""
    found = facts(messages=[], tools=[TOOL, {"name": "anthropic_tool", "input_schema": {}}])
    assert (found[c.TOOLS_OFFERED], found[c.TOOLS_DESCRIBED][1].partition("=")[0]) == (2, "anthropic_tool")
    name, _, tokens = found[c.TOOLS_DESCRIBED][0].partition("=")
    assert (name, int(tokens)) == ("look", -(-len(json.dumps(TOOL)) // 4))


def test_instructions_said_twice_are_counted_and_words_of_users_are_not():
    """What tidying would leave out of system and developer messages, in tokens."""
    said = f"{RULE}\n\nBe kind.\n\n{RULE}"
    for kwargs in (
        {"messages": [{"role": "system", "content": said}]},
        {"messages": [{"role": "developer", "content": [{"type": "text", "text": said}]}]},
        {"messages": [], "system": said},
        {"input": [], "instructions": said},
    ):
        assert facts(**kwargs)[c.REPEATED_PROMPT_TOKENS] == (len(RULE) + 2) // 4
    assert c.REPEATED_PROMPT_TOKENS not in facts(messages=[{"role": "user", "content": said}])


def test_the_request_is_taken_as_it_was_when_the_call_was_made():
    """What the agent appends while the model answers is not what it asked."""
    messages = turn("call_1")
    taken = request_facts({"messages": messages})
    before = request_facts({"messages": list(messages)}).attributes()
    messages.append({"role": "user", "content": "more"})
    assert taken.attributes() == before


def test_a_call_of_the_client_carries_the_facts_on_its_span(spans, openai_client, no_faults):
    """With the official client: equal requests share a digest, and the tools are counted."""
    with command("/query"):
        for text in ("hello", "hello", "good bye"):
            openai_client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "system", "content": f"{RULE}\n\n{RULE}"}, {"role": "user", "content": text}],
                tools=[TOOL],
            )
    first, again, other = (span.attributes for span in spans.of_kind("inference"))
    assert first[c.REQUEST_DIGEST] == again[c.REQUEST_DIGEST] != other[c.REQUEST_DIGEST]
    assert (first[c.TOOLS_OFFERED], first[c.REPEATED_PROMPT_TOKENS]) == (1, (len(RULE) + 2) // 4)
    assert "Never promise" not in str(first)


def test_large_requests_waiting_to_be_described_are_few():
    """Where all places for large ones are taken, nothing is said, and that is counted; places come back."""
    finisher = Finisher()
    taken = request_facts({"messages": [{"role": "user", "content": "x" * 10_000}]})
    described = [taken.describing(finisher) for _ in range(65)]
    assert described[64] is None
    assert finisher.undescribed == 1

    class Span:
        def set_attributes(self, attributes):
            assert c.REQUEST_DIGEST in attributes

    described[0](Span())
    assert taken.describing(finisher) is not None


def test_a_result_says_how_short_its_table_is():
    """A list of equal objects loses its repeated names; a short result says nothing."""
    rows = [{"order": f"O-{number}", "status": "sent", "city": "Seattle"} for number in range(30)]
    found = tool_span.description_of({}, {"orders": rows})
    assert found[c.RESULT_SHORTER_TOKENS] < 0.7 * found[c.RESULT_TOKENS]
    assert tool_span.description_of({}, json.dumps({"orders": rows}))[c.RESULT_SHORTER_TOKENS] < found[c.RESULT_TOKENS]
    assert c.RESULT_SHORTER_TOKENS not in tool_span.description_of({}, rows[:2])
