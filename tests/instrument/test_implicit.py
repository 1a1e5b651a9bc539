from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.signal.calls import ToolRequest
from otel_perfopt.signal.emit.conversations import Conversations, SentMessage
from otel_perfopt.signal.emit.implicit import ImplicitCommands
from otel_perfopt.signal.emit.runs import remember_requests
from otel_perfopt.signal.frameworks.openai_request import sent_message


class Clock:
    def __init__(self):
        self.now_ns = 1_000_000_000

    def __call__(self):
        return self.now_ns


def user(text, command="", chars=4):
    return SentMessage("user", hash(text), chars, (), command)


def asks(commands, run, *requests):
    remember_requests(run, requests, "asker")
    commands.replied(run, requests, final=False)


def test_idle_commands_end_as_of_their_last_call(spans, no_faults):
    """One without a call for too long is closed at the next, with the time of its last call as its end."""
    clock = Clock()
    commands = ImplicitCommands(idle_s=10, clock_ns=clock)
    run = commands.for_model_call([user("a", "/a")], "c-1", "")
    asks(commands, run, ToolRequest("1", "find", {}))
    clock.now_ns += 9_000_000_000
    assert commands.for_tool_call("find", {}, exact=False)[0] is run
    last = clock.now_ns
    clock.now_ns += 11_000_000_000
    commands.for_model_call([user("b", "/b")], "c-2", "")
    assert not run.open
    assert spans.one("/a").attributes["perfopt.command.outcome"] == "abandoned"
    assert spans.one("/a").end_time == last
    commands.close_all()


def test_only_so_many_are_open_at_once(spans, no_faults):
    """Past the limit the one without a call for the longest is given up."""
    commands = ImplicitCommands(limit=3)
    runs = [commands.for_model_call([user(f"{n}", f"/c{n}")], f"c-{n}", "") for n in range(5)]
    assert [run.open for run in runs] == [False, False, True, True, True]
    commands.close_all()
    assert not commands._by_call_id


def test_a_new_turn_ends_the_one_it_overtakes(spans, no_faults):
    """The user's next message in a conversation ends a command left open; a helper's call does not."""
    commands = ImplicitCommands()
    first = [user("system"), user("q", "/q")]
    run = commands.for_model_call(first, "c-1", "")
    asks(commands, run, ToolRequest("1", "find", {}))
    helper = commands.for_model_call([user("summarise")], "c-1", "")
    assert run.open
    commands.replied(helper, (), final=True)
    assert run.open
    commands.for_model_call([*first, user("next", "/next")], "c-1", "")
    assert not run.open
    assert spans.one("/q").attributes["perfopt.command.outcome"] == "interrupted"


def test_a_tool_call_joins_only_the_command_that_asked_for_it(spans, no_faults):
    """On another thread a call is joined by its arguments, and where two asked for the same, to neither."""
    commands = ImplicitCommands()
    runs = [commands.for_model_call([user(f"{n}")], f"c-{n}", "") for n in range(3)]
    for run, key in zip(runs, ("a", "b", "b"), strict=True):
        asks(commands, run, ToolRequest(f"id-{id(run)}", "find", {"key": key}))
    found = []

    def elsewhere():
        asked = ({"key": "a", "limit": 3}, {"key": "b"}, {"key": "other"})
        found.extend(commands.for_tool_call("find", arguments, exact=False)[0] for arguments in asked)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [runs[0], None, None]
    assert commands.for_tool_call("unasked", {}, exact=False) == (None, None)
    commands.close_all()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(1, 12))
def test_a_conversation_is_known_by_how_it_begins(contents, cut):
    """What continues a call and its reply is the same conversation; anything else is a new one."""
    messages = [SentMessage("user", hash((n, value)), 10) for n, value in enumerate(contents)]
    reply = SentMessage("assistant", hash("reply"), 5)
    conversations = Conversations()
    conversation = conversations.identify(messages)
    conversations.remember(conversation, messages, reply, 100)
    continued = [*messages, reply, SentMessage("user", 99, 10)]
    assert conversations.identify(continued) == conversation
    assert conversations.identify(messages) != conversation
    assert conversations.resent_tokens(conversation, continued, 150) == 100
    shared = min(cut, len(messages))
    changed = [*messages[:shared], SentMessage("user", -1, 10)]
    assert conversations.resent_tokens(conversation, changed, 1000) == round(100 * shared / len(messages))


def test_what_is_remembered_is_bounded():
    """Of very many conversations the least recently used are forgotten."""
    conversations = Conversations(limit=10)
    for number in range(100):
        conversations.remember(str(number), [SentMessage("user", number, 1)], SentMessage("assistant", -number, 1), 1)
    assert len(conversations._by_id) == 10
    assert len(conversations._by_line) == 40
    assert conversations.resent_tokens("99", [SentMessage("user", 99, 1)], None) is None


@pytest.mark.parametrize("content", ["text", [{"type": "text", "text": "/query x"}], None])
def test_a_reply_sent_back_by_hand_is_recognised(content):
    """The client's object, its dump, and a dict written by hand have one fingerprint."""
    from openai.types.chat import ChatCompletionMessage  # noqa: PLC0415 - only here

    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    by_hand = {"role": "assistant", "content": content if isinstance(content, str) else None, "tool_calls": calls}
    message = ChatCompletionMessage.model_validate(by_hand)
    prints = {sent_message(form).fingerprint for form in (by_hand, message, message.model_dump(exclude_none=True))}
    assert len(prints) == 1
    assert sent_message({"role": "user", "content": content}).command == ("/query" if isinstance(content, list) else "")


def test_a_forked_child_makes_ids_of_its_own():
    """After a fork parent and child do not give the same ids to different conversations."""
    conversations = Conversations()
    state = conversations._chance.getstate()
    here = conversations.identify([])
    conversations._chance.setstate(state)
    conversations.after_fork()
    there = conversations.identify([])
    assert here != there
    assert len(here) == len(there) == 32
