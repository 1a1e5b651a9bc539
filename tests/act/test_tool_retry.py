"""What `retry_hedge` promises about tools: reads that fail in passing are made again, and nothing else ever is."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from governed import Agent, decision
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.snapshot_source import FixedSource
from otel_perfopt.decide.decision import Match, Snapshot
from otel_perfopt.signal.calls import RunContext, ToolCall

PREFIX = "perfopt.policy.retry-hedge-policy."
QUICK = {"backoff_s": 1e-4, "budget": 0.5}


EVERY_TOOL = Match(tool=("*",))


def retry(stage="canary-1", match=EVERY_TOOL, **parameters):
    return decision("retry_hedge", stage=stage, match=match, parameters={**QUICK, **parameters})


def retries(agent):
    return agent.run.span.attributes.get(f"{PREFIX}retries", 0)


class Flaky:
    """A tool that raises each of `errors` in turn and then answers; `calls` counts."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

        def read_stock(item=""):
            self.calls += 1
            if self.errors:
                raise self.errors.pop(0)
            return f"stock of {item}"

        def write_stock(item=""):
            return read_stock(item)

        def mystery(item=""):
            return read_stock(item)

        async def read_later(item=""):
            await asyncio.sleep(0)
            return read_stock(item)

        self.read, self.write, self.mystery, self.read_later = read_stock, write_stock, mystery, read_later


def test_a_read_that_fails_in_passing_is_made_again(new_agent):
    """The agent gets the later try's result, and the run says that there was one more."""
    tool = Flaky(ConnectionResetError())
    agent = new_agent(retry())
    assert agent.call(tool.read, "a") == "stock of a"
    assert (tool.calls, retries(agent)) == (2, 1)


def test_so_is_a_coroutine(new_agent):
    """Asynchronous calls likewise."""
    tool = Flaky(TimeoutError())
    agent = new_agent(retry())
    assert asyncio.run(agent.call_async(tool.read_later, "a")) == "stock of a"
    assert (tool.calls, retries(agent)) == (2, 1)


@pytest.mark.parametrize("name", ["write", "mystery"])
def test_what_may_write_is_made_once(new_agent, name):
    """Whatever the failure, and whatever the policy says of tools."""
    tool = Flaky(ConnectionResetError(), ConnectionResetError())
    agent = new_agent(retry(tools=True, retries=5))
    with pytest.raises(ConnectionResetError):
        agent.call(getattr(tool, name), "a")
    assert (tool.calls, retries(agent)) == (1, 0)


@pytest.mark.parametrize("error", [ValueError("a"), KeyError("a"), FileNotFoundError(2, "a"), PermissionError(13, "a")])
def test_what_does_not_pass_is_raised_at_once(new_agent, error):
    """A mistake is the same the next time."""
    tool = Flaky(error)
    with pytest.raises(type(error)) as caught:
        new_agent(retry()).call(tool.read, "a")
    assert caught.value is error
    assert tool.calls == 1


def test_the_last_failure_is_the_agents(new_agent):
    """Two more tries unless the policy says otherwise, and then the exception of the last."""
    errors = [ConnectionResetError(str(number)) for number in range(3)]
    tool = Flaky(*errors)
    agent = new_agent(retry(budget=0.5))
    for _ in range(10):
        agent.call(Flaky().read)
    with pytest.raises(ConnectionResetError) as caught:
        agent.call(tool.read, "a")
    assert caught.value is errors[-1]
    assert (tool.calls, retries(agent)) == (3, 2)
    assert not any(breaker.faults for breaker in agent.runtime.faults.breakers.values())


def test_a_failure_that_lasts_ends_the_tries(new_agent):
    """Gone after a lost connection: the agent is told that it is gone."""
    tool = Flaky(ConnectionResetError(), KeyError("gone"))
    with pytest.raises(KeyError):
        new_agent(retry(retries=5)).call(tool.read, "a")
    assert tool.calls == 2


@pytest.mark.parametrize(
    ("match", "parameters", "made"),
    [
        (Match(command=("*",)), {"retries": 2}, 1),
        (Match(command=("*",)), {"tools": True}, 2),
        (Match(command=("*",)), {"tools": ["read_*"]}, 2),
        (Match(command=("*",)), {"tools": "look_*"}, 1),
        (Match(command=("/other",)), {"tools": True}, 1),
        (Match(tool=("read_stock",)), {}, 2),
        (Match(tool=("read_*",)), {"tools": False}, 1),
        (Match(tool=("read_*",)), {"tools": []}, 1),
        (Match(tool=("look_*",)), {"tools": True}, 1),
        (Match(tool=("read_*",)), {"retries": 0}, 2),
        (Match(tool=("read_*",)), {"tool_retries": 0}, 1),
        (Match(tool=("read_*",)), {"tool_retries": 0, "retries": 3}, 1),
        (Match(model=("gpt-*",)), {"tools": True}, 1),
    ],
)
def test_which_tools_are_meant(new_agent, match, parameters, made):
    """Those of a policy that names tools, in its match or by `tools`; a policy for models leaves tools alone."""
    tool = Flaky(ConnectionResetError())
    with suppress(ConnectionResetError):
        new_agent(retry(match=match, **parameters)).call(tool.read, "a")
    assert tool.calls == made


def test_requests_are_left_alone_by_a_policy_for_tools(new_runtime):
    """A policy that names tools and no models is about tools only."""
    cases = [(Match(tool=("*",)), False), (Match(tool=("*",), model=("*",)), True), (Match(command=("*",)), True)]
    for match, meant in cases:
        plan = new_runtime(retry(match=match))._source.current().plan
        assert bool(plan.inference_rules) is meant


def test_shadow_makes_nothing_twice(new_agent):
    """Watching costs no call."""
    tool = Flaky(ConnectionResetError())
    agent = new_agent(retry(stage="shadow"))
    with pytest.raises(ConnectionResetError):
        agent.call(tool.read, "a")
    assert (tool.calls, retries(agent)) == (1, 0)


def test_extra_calls_stay_within_the_budget(new_agent):
    """A tool that always fails gets at most its share of extra calls, and what was saved up before."""
    tool = Flaky(*[ConnectionResetError() for _ in range(1000)])
    agent = new_agent(retry(budget=0.1, retries=5))
    for _ in range(200):
        with pytest.raises(ConnectionResetError):
            agent.call(tool.read, "a")
    assert tool.calls == 200 + retries(agent)
    assert 15 <= retries(agent) <= 21


def test_one_tool_does_not_use_up_anothers_budget(new_agent):
    """Each tool has its own share."""
    down, other = Flaky(*[ConnectionResetError() for _ in range(100)]), Flaky(ConnectionResetError())

    def read_price():
        return other.read()

    agent = new_agent(retry(retries=5))
    for _ in range(20):
        with pytest.raises(ConnectionResetError):
            agent.call(down.read)
    assert agent.call(read_price) == "stock of "


class RefusedError(Exception):
    """A refusal that says when to come back."""

    def __init__(self, after_s, status=429):
        super().__init__(status)
        self.status_code = status
        self.response = self
        self.headers = {"retry-after": str(after_s)}


@pytest.mark.parametrize(
    ("parameters", "after_s", "made"),
    [({}, 0.001, 2), ({"on_overload": True}, 0.001, 2), ({"max_wait_s": 5}, 6, 1), ({}, 11, 1)],
)
def test_a_refusal_is_waited_for_within_bounds(new_agent, parameters, after_s, made):
    """As long as it asks, never longer than the policy allows: then it is the agent's at once."""
    tool = Flaky(RefusedError(after_s))
    began = time.monotonic()
    with suppress(RefusedError):
        new_agent(retry(**parameters)).call(tool.read, "a")
    assert tool.calls == made
    assert after_s < 1 or time.monotonic() - began < after_s


def test_all_waits_of_a_call_together_are_bounded(new_agent):
    """Each try's wait is taken from what is left."""
    tool = Flaky(*[RefusedError(0.02) for _ in range(10)])
    agent = new_agent(retry(max_wait_s=0.05, retries=5))
    for _ in range(20):
        agent.call(Flaky().read)
    with pytest.raises(RefusedError):
        agent.call(tool.read, "a")
    assert tool.calls == 3


class TryLaterError(Exception):
    """A tool's own word for it."""


def test_a_policy_may_name_what_passes(new_agent):
    """By the class's name; the agent's own exceptions are otherwise left alone."""
    for named, made in (((), 1), (["TryLaterError"], 2)):
        tool = Flaky(TryLaterError())
        with suppress(TryLaterError):
            new_agent(retry(transient=named)).call(tool.read, "a")
        assert tool.calls == made


def test_changed_arguments_are_not_given_twice(new_agent):
    """What the first try used up or changed is gone: the call is not the same any more."""
    made = []

    def read_all(items):
        made.append(list(items))
        if isinstance(items, list):
            items.clear()
        raise ConnectionResetError

    agent = new_agent(retry())
    for items in ([1, 2], iter([1, 2])):
        with pytest.raises(ConnectionResetError):
            agent.call(read_all, items)
    assert made == [[1, 2], [1, 2]]


def test_the_event_loop_is_never_blocked(new_agent):
    """A plain function that is called on a loop is made once; the same function in a thread is made again."""
    tool = Flaky(ConnectionResetError())
    agent = new_agent(retry())

    async def on_loop():
        return agent.call(tool.read, "a")

    with pytest.raises(ConnectionResetError):
        asyncio.run(on_loop())
    assert tool.calls == 1
    tool.errors.append(ConnectionResetError())

    async def in_thread():
        return await asyncio.to_thread(agent.call, tool.read, "a")

    assert asyncio.run(in_thread()) == "stock of a"


def test_a_cancellation_ends_the_wait(new_agent):
    """While a call waits for its next try it can be cancelled, and is not made again."""
    tool = Flaky(RefusedError(8))
    agent = new_agent(retry())

    async def go():
        task = asyncio.ensure_future(agent.call_async(tool.read_later, "a"))
        while not retries(agent):  # noqa: ASYNC110 - it is told on the span, by nobody's event
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    began = time.monotonic()
    asyncio.run(go())
    assert tool.calls == 1
    assert time.monotonic() - began < 8


def test_a_cancelled_tool_is_not_made_again(new_agent):
    """A cancellation inside the tool is passed on, whatever the policy names."""
    tool = Flaky(asyncio.CancelledError())
    agent = new_agent(retry(transient=["CancelledError"]))

    async def go():
        with pytest.raises(asyncio.CancelledError):
            await agent.call_async(tool.read_later, "a")

    asyncio.run(go())
    assert tool.calls == 1


def test_after_the_command_nothing_is_made_again(new_agent):
    """What is left over from a command that has ended is nobody's any more."""
    tool = Flaky(ConnectionResetError())
    agent = new_agent(retry())
    agent.run.open = False
    with pytest.raises(ConnectionResetError):
        agent.call(tool.read, "a")
    assert tool.calls == 1


def test_a_later_try_is_cached(new_agent):
    """The cache stands outside: it keeps what came of all tries, and never a failure."""
    tool = Flaky(ConnectionResetError())
    agent = new_agent(retry(), decision("tool_cache"))
    assert [agent.call(tool.read, "a") for _ in range(3)] == ["stock of a"] * 3
    assert (tool.calls, len(agent.hits)) == (2, 2)


def test_equal_calls_at_once_share_the_later_try(new_agent):
    """Single flight: those that wait get what the second try brings."""
    inside, together = threading.Event(), threading.Event()
    made = []

    def read_slow(item):
        made.append(item)
        if len(made) == 1:
            inside.set()
            together.wait(20)
            raise ConnectionResetError
        return "found"

    agent = new_agent(retry(), decision("tool_cache", parameters={"max_wait_s": "20s"}))
    got = []
    threads = [threading.Thread(target=lambda: got.append(agent.call(read_slow, "a"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    inside.wait(20)
    time.sleep(0.05)
    together.set()
    for thread in threads:
        thread.join(20)
    assert got == ["found"] * 3
    assert len(made) == 2


def test_a_batch_is_inside_the_tries(new_agent, new_run):
    """What fails in a batch is made alone, and made again when it fails in passing."""
    failing = [ConnectionResetError()]

    def read_rate(currency):
        if failing:
            raise failing.pop()
        return f"rate of {currency}"

    spans = CallSpans(batch_form=lambda name: (lambda asked: [None]) if name == "read_rate" else None)
    runtime = Runtime(
        FixedSource(_snapshot(retry(), decision("batch_tools", parameters={"window": "1ms"}))), spans=spans
    )
    agent = Agent(runtime, new_run())
    call = ToolCall("read_rate", read_rate, ("EUR",), {}, agent.run, arguments={"currency": "EUR"})
    assert runtime.around_tool(call, lambda call: call.function(*call.args, **call.kwargs)) == "rate of EUR"
    assert retries(agent) == 1
    runtime.close()


def test_early_calls_are_made_again_too(new_agent):
    """What a reply asks for is tried again before the agent comes for it, and claimed."""
    lock, failed = threading.Lock(), set()
    begun = threading.Event()

    def read_one(key):
        with lock:
            first = key not in failed
            failed.add(key)
        if first:
            raise ConnectionResetError
        if failed == {"a", "b"}:
            begun.set()
        return f"value of {key}"

    agent = new_agent(retry(), decision("parallel_tools"))
    agent.reply((read_one, {"key": "a"}), (read_one, {"key": "b"}))
    assert begun.wait(20)
    assert [agent.call(read_one, key=key) for key in "ab"] == ["value of a", "value of b"]
    assert agent.run.span.attributes["perfopt.policy.parallel-tools-policy.claimed"] == 2
    assert retries(agent) == 2


def test_a_fault_of_ours_is_not_the_agents(new_agent):
    """Where the code that decides on tries fails, the agent gets the plain call's own exception, and it is counted."""
    tool = Flaky(error := ConnectionResetError())
    agent = new_agent(retry())
    agent.runtime._retry._chance = lambda: 1 / 0
    with pytest.raises(ConnectionResetError) as caught:
        agent.call(tool.read, "a")
    assert caught.value is error
    assert tool.calls == 1
    assert agent.runtime.faults.breakers["retry_hedge"].faults == 1


def test_threads_share_the_budget(new_agent):
    """Many at once: extra calls are never more than the share of all and one to begin with."""
    lock, made = threading.Lock(), []

    def read_down():
        with lock:
            made.append(1)
        raise ConnectionResetError

    agent = new_agent(retry(budget=0.25, retries=3))

    def work():
        for _ in range(50):
            with pytest.raises(ConnectionResetError):
                agent.call(read_down)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(made) == 200 + retries(agent)
    assert 40 <= retries(agent) <= 51


def _snapshot(*decisions):
    return Snapshot(1, time.time_ns(), 3600.0, decisions=decisions)


# Randomised programs against a serial oracle.


@dataclass(frozen=True)
class Step:
    """One call, and how often it fails in passing before it does what it does."""

    tool: str
    key: str
    value: int = 0
    fails: int = 0
    lasting: bool = False


@dataclass
class World:
    """A store whose tools fail as the steps say; `faults` counts down for the call that is being made."""

    values: dict = field(default_factory=lambda: dict.fromkeys("abc", 0))
    log: list = field(default_factory=list)
    faults: int = 0
    lasting: bool = False

    def fail(self):
        if self.faults:
            self.faults -= 1
            raise ConnectionResetError("injected")
        if self.lasting:
            raise KeyError("injected")

    def tools(self):
        def read_one(key, value):
            self.fail()
            return [self.values[key], value]

        def write_one(key, value):
            self.log.append((key, value))
            self.fail()
            self.values[key] = value

        def mystery(key, value):
            self.log.append(("mystery", key))
            self.fail()
            self.values[key] += 1

        return {tool.__name__: tool for tool in (read_one, write_one, mystery)}


def later(tool):
    async def call(key, value):
        await asyncio.sleep(0)
        return tool(key, value)

    call.__name__ = tool.__name__
    return call


programs = st.lists(
    st.builds(
        Step,
        st.sampled_from(["read_one", "read_one", "write_one", "mystery"]),
        st.sampled_from("abc"),
        st.integers(0, 3),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=12,
)


def expected(program):
    """Serial execution without optimizations, in a world where reads do not fail in passing."""
    world = World()
    tools, got = world.tools(), []
    for step in program:
        world.faults = 0 if step.tool == "read_one" else step.fails
        world.lasting = step.lasting
        try:
            got.append(repr(tools[step.tool](step.key, step.value)))
        except Exception as error:
            got.append(repr(error))
    return got, world.log, world.values


def everything():
    return retry(retries=5, budget=0.5), decision("tool_cache", parameters={"scope": "conversation"})


def generous(runtime):
    """A budget that never runs out: what is compared is what tries do, not when they end."""

    class Unbounded:
        def earn(self):
            pass

        def spend(self):
            return True

    runtime._retry._budget = lambda use, call: Unbounded()
    runtime._retry._sleep = lambda wait_s: None


@settings(max_examples=150, deadline=None)
@given(program=programs)
def test_a_serial_agent_sees_no_passing_fault_of_reads(program):
    """Results, exceptions of writes, their order and the world are those of a world in which reads never fail in passing."""
    runtime = Runtime(FixedSource(_snapshot(*everything())), spans=CallSpans())
    generous(runtime)
    world = World()
    agent, got = Agent(runtime, RunContext("/task", "c")), []
    tools = world.tools()
    for step in program:
        world.faults, world.lasting = step.fails, step.lasting
        try:
            got.append(repr(agent.call(tools[step.tool], step.key, step.value)))
        except Exception as error:
            got.append(repr(error))
    assert (_without_hits(got, program), world.log, world.values) == _expected(program)
    assert not any(breaker.faults for breaker in runtime.faults.breakers.values())
    runtime.close()


@settings(max_examples=100, deadline=None)
@given(program=programs)
def test_so_does_an_asynchronous_agent(program):
    """The same with coroutines."""
    runtime = Runtime(FixedSource(_snapshot(*everything())), spans=CallSpans())
    generous(runtime)
    world = World()
    tools = {name: later(tool) for name, tool in world.tools().items()}

    async def go():
        agent, got = Agent(runtime, RunContext("/task", "c")), []
        for step in program:
            world.faults, world.lasting = step.fails, step.lasting
            try:
                got.append(repr(await agent.call_async(tools[step.tool], step.key, step.value)))
            except Exception as error:
                got.append(repr(error))
        return got

    got = asyncio.run(go())
    assert (_without_hits(got, program), world.log, world.values) == _expected(program)
    assert not any(breaker.faults for breaker in runtime.faults.breakers.values())
    runtime.close()


def _without_hits(got, program):
    """A read that lastingly fails may be answered from the cache: what it gives then is not compared."""
    return [None if step.tool == "read_one" and step.lasting else one for one, step in zip(got, program, strict=True)]


def _expected(program):
    got, log, values = expected(program)
    return _without_hits(got, program), log, values
