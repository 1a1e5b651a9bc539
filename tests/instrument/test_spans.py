from __future__ import annotations

import asyncio
import inspect

import pytest
from opentelemetry import baggage, context, trace

from otel_perfopt.signal.emit.runs import current_run
from otel_perfopt.signal.emit.spans import command, feedback, thinking, tool


def test_a_decorated_function_keeps_its_identity(no_faults):
    """Marking a function as command, tool or thinking gives the same object back."""

    def plain(x):
        return x

    assert command(plain) is plain
    assert thinking(plain) is plain
    assert tool("other", effects="read")(plain) is plain
    assert plain(3) == 3


def test_names_and_askers_are_found_among_the_arguments(spans, no_faults):
    """A text that begins with a /word names the command; arguments of the usual names say who asks."""

    @command
    def handle(text, session_id=None, *, user_id=None):
        return text

    handle("/query where is it", session_id="s-1", user_id="u-1")
    handle("hello")
    first, second = spans.of_kind("command")
    assert first.name == "/query"
    assert first.attributes["gen_ai.conversation.id"] == "s-1"
    assert first.attributes["user.id"] == "u-1"
    assert first.attributes["perfopt.command.outcome"] == "completed"
    assert second.name == "handle"
    assert "gen_ai.conversation.id" not in second.attributes


def test_baggage_says_who_asks(spans, no_faults):
    """Conversation and user arrive by baggage where nobody passes them on."""
    token = context.attach(baggage.set_baggage("session.id", "b-1", baggage.set_baggage("user.id", "u-2")))
    try:
        with command("/query"):
            assert current_run().conversation_id == "b-1"
    finally:
        context.detach(token)
    said = spans.one("/query").attributes
    assert (said["gen_ai.conversation.id"], said["user.id"]) == ("b-1", "u-2")


def test_outcomes(spans, no_faults):
    """A command that raises has failed; one that is interrupted has not."""
    with pytest.raises(ValueError), command("/fails"):
        raise ValueError("x")
    with pytest.raises(KeyboardInterrupt), command("/stopped"):
        raise KeyboardInterrupt
    assert spans.one("/fails").attributes["perfopt.command.outcome"] == "failed"
    assert spans.one("/fails").attributes["error.type"] == "ValueError"
    assert spans.one("/stopped").attributes["perfopt.command.outcome"] == "interrupted"


def test_generators_are_in_their_command_only_while_they_run(spans, no_faults):
    """What consumes a command's generator is outside of it, between the steps too."""

    @command("/stream")
    def streamed():
        for part in ("a", "b"):
            with thinking():
                pass
            yield part
        return "end"

    def consume():
        return (yield from streamed())

    generator = consume()
    seen = [next(generator)]
    assert current_run() is None
    assert not trace.get_current_span().get_span_context().is_valid
    seen.append(next(generator))
    with pytest.raises(StopIteration) as stopped:
        next(generator)
    assert (seen, stopped.value.value) == (["a", "b"], "end")
    parent = spans.one("/stream").context.span_id
    assert [span.parent.span_id for span in spans.of_kind("thinking")] == [parent, parent]


async def test_asynchronous_commands_and_generators(spans, no_faults):
    """Coroutines and asynchronous generators, many at once, never see each other's command."""

    @command
    async def handle(text):
        await asyncio.sleep(0.001)
        return current_run().command, await asyncio.gather(part(), part())

    async def part():
        await asyncio.sleep(0)
        return current_run().command

    @command("/stream")
    async def streamed():
        for n in range(3):
            await asyncio.sleep(0)
            yield current_run().command, n

    assert inspect.iscoroutinefunction(handle)
    assert inspect.isasyncgenfunction(streamed)
    answers = await asyncio.gather(*(handle(f"/c{n} x") for n in range(20)))
    assert answers == [(f"/c{n}", [f"/c{n}", f"/c{n}"]) for n in range(20)]
    collected = []
    async for item in streamed():
        assert current_run() is None
        collected.append(item)
    assert collected == [("/stream", n) for n in range(3)]
    assert current_run() is None


def test_recursion_is_one_command(spans, no_faults):
    """A command's function that calls itself is the same command."""

    @command
    def count(n):
        return 0 if n == 0 else 1 + count(n - 1)

    assert count(50) == 50
    assert len(spans.of_kind("command")) == 1


def test_a_closed_coroutine_leaves_nothing_behind(spans, no_faults, caplog):
    """A command that is closed from another context does not disturb that context."""

    @command
    async def handle():
        await asyncio.sleep(60)

    async def start():
        coroutine = handle()
        coroutine.send(None)
        return coroutine

    loop = asyncio.new_event_loop()
    coroutine = loop.run_until_complete(start())
    coroutine.close()
    loop.close()
    assert current_run() is None
    assert spans.one("handle").attributes["perfopt.command.outcome"] == "interrupted"
    assert not caplog.records


def test_tools_and_thinking_as_blocks(spans, no_faults):
    """Blocks have spans of their kinds under the command; a block's result is described."""
    with command("/task"):
        with thinking():
            pass
        with tool("search", effects="read", arguments={"q": "ORD-77"}) as call:
            call.result(["ORD-77", "ORD-78"])
    said = spans.one("execute_tool search").attributes
    assert said["perfopt.tool.result.digest"]
    assert set(said["perfopt.dataflow.inputs"]) < set(said["perfopt.dataflow.outputs"])
    assert spans.one("thinking").parent.span_id == spans.one("/task").context.span_id


def test_feedback_reaches_the_command_that_earned_it(spans, no_faults):
    """Inside a command it is an event on it; afterwards a span in its trace; without a command nothing."""
    assert feedback(1.0, conversation_id="unheard of") is False
    with command("/query", conversation_id="c-7"):
        assert feedback(0.5, "meh")
    assert feedback(1.0, "good", "thanks", conversation_id="c-7")
    run = spans.one("/query")
    (event,) = run.events
    assert event.name == "gen_ai.evaluation.result"
    assert event.attributes["gen_ai.evaluation.score.value"] == 0.5
    late = spans.one("gen_ai.evaluation.result")
    assert late.parent.span_id == run.context.span_id
    assert late.events[0].attributes["gen_ai.evaluation.score.label"] == "good"


def test_methods_static_and_class_methods(spans, no_faults):
    """Decorators work in a class, whatever kind of method it is."""

    class Agent:
        @command("/m")
        def method(self, x):
            return x + 1

        @tool("s", effects="read")
        @staticmethod
        def static(x):
            return x + 2

        @classmethod
        @tool("c")
        def of_class(cls, x):
            return cls.__name__, x

    assert (Agent().method(1), Agent.static(1), Agent.of_class(1)) == (2, 3, ("Agent", 1))
    assert [span.name for span in spans.all] == ["/m", "execute_tool s", "execute_tool c"]
