"""Random programs of reads and writes: the same answers as without any optimization, writes in the same order."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from governed import Agent, decision, snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.snapshot_source import FixedSource
from otel_perfopt.signal.calls import RunContext, ToolCall

KEYS = "abc"
TRACER = TracerProvider().get_tracer("test")


@dataclass(frozen=True)
class Step:
    """One call: `asked` is whether the model asked for it as it is made, `pause_s` lets early calls get ahead."""

    tool: str
    arguments: dict[str, Any]
    asked: bool = True


mostly = st.sampled_from([True, True, True, False])
steps = (
    st.builds(
        Step,
        st.just("read_one"),
        st.fixed_dictionaries({"key": st.sampled_from(KEYS)}),
        mostly,
    )
    | st.builds(
        Step,
        st.just("write_one"),
        st.fixed_dictionaries({"key": st.sampled_from(KEYS), "value": st.integers(-1, 3)}),
        mostly,
    )
    | st.builds(Step, st.sampled_from(["read_all", "mystery"]), st.just({}))
)
replies = st.lists(st.lists(steps, min_size=1, max_size=7), min_size=1, max_size=4)


class World:
    """A store; every tool takes a moment, so that early calls really overlap."""

    def __init__(self, moment_s: float = 0.0) -> None:
        self.values = dict.fromkeys(KEYS, 0)
        self.log: list[Any] = []
        self.lock = threading.Lock()
        self.moment_s = moment_s

    def tools(self) -> dict[str, Any]:
        def read_one(key):
            self.pause()
            if self.values[key] == 2:
                raise KeyError(key)
            return [self.values[key]]

        def read_all():
            self.pause()
            return dict(self.values)

        def write_one(key, value):
            before = self.values[key]
            self.pause()
            with self.lock:
                self.log.append((key, value))
                self.values[key] = value
            if value < 0:
                raise ValueError(key)
            return before

        def mystery():
            with self.lock:
                self.values["a"] += 1
                self.log.append("mystery")

        return {f.__name__: f for f in (read_one, read_all, write_one, mystery)}

    def pause(self) -> None:
        if self.moment_s:
            time.sleep(self.moment_s)


def coroutines(tools):
    def one(function):
        async def tool(**arguments):
            await asyncio.sleep(0)
            return function(**arguments)

        tool.__name__ = function.__name__
        return tool

    return {name: one(function) for name, function in tools.items()}


def new_runtime(
    *, cache: bool = True, parallel: bool = True, scope: str = "process", tools: Any = None, store: str = ""
) -> Runtime:
    """With `tools`, also `preload` by rules that are often wrong, and `batch_tools` with a form for many."""
    chosen, spans = [], CallSpans()
    if cache:
        chosen.append(decision("tool_cache", parameters={"scope": scope, "store": store}))
    if parallel:
        chosen.append(decision("parallel_tools"))
    if tools is not None:
        chosen.append(decision("preload", parameters={"rules": FORESEEN, "budget": 1.0, "min_precision": 0.0}))
        chosen.append(decision("batch_tools", parameters={"window": "1ms"}))
        spans = CallSpans(template=lambda name: template(tools, name), batch_form=lambda name: batch_form(tools, name))
    return Runtime(FixedSource(snapshot(*chosen)), spans=spans)


SAME_KEY = {"key": {"of": "read_one", "from": "arguments", "path": "key"}}
WRITTEN_KEY = {"key": {"of": "write_one", "from": "arguments", "path": "key"}}
FORESEEN = [
    {"after": "read_one", "call": "read_all"},
    {"after": "read_all", "call": "read_one", "arguments": SAME_KEY},
    {"after": "write_one", "call": "read_one", "arguments": WRITTEN_KEY},
    {"after": "write_one", "call": "read_all"},
    {"after": "mystery", "call": "read_all"},
    {"after_command": "/task", "command": "/task", "call": "read_all"},
    {"after_command": "/task", "command": "/task", "call": "read_one", "arguments": SAME_KEY},
]


def template(tools: dict[str, Any], name: str) -> ToolCall | None:
    return ToolCall(name, tools[name], (), {}) if name in tools else None


def batch_form(tools: dict[str, Any], name: str) -> Any:
    if name != "read_one":
        return None
    one = tools[name]

    def outcome(arguments: Any) -> Any:
        try:
            return one(**arguments)
        except KeyError as error:
            return error

    async def outcome_later(arguments: Any) -> Any:
        try:
            return await one(**arguments)
        except KeyError as error:
            return error

    async def many_later(asked: Any) -> Any:
        return [await outcome_later(arguments) for arguments in asked]

    return many_later if inspect.iscoroutinefunction(one) else lambda asked: [outcome(item) for item in asked]


def new_agent(runtime: Runtime, conversation: str = "c") -> Agent:
    return Agent(runtime, RunContext("/task", conversation, "", TRACER.start_span("/task")))


def outcome(function, arguments, agent: Agent | None) -> str:
    try:
        result = function(**arguments) if agent is None else agent.call(function, **arguments)
        text = repr(result)
        if isinstance(result, list):
            result.append("changed by the agent")
    except (KeyError, ValueError) as error:
        return repr(error)
    return text


async def outcome_async(function, arguments, agent: Agent | None) -> str:
    try:
        return repr(await (function(**arguments) if agent is None else agent.call_async(function, **arguments)))
    except (KeyError, ValueError) as error:
        return repr(error)


def play(program: Sequence[Sequence[Step]], tools: dict[str, Any], agent: Agent | None) -> list[Any]:
    """Run a program serially, as agents do: after each reply its calls, one after another, and some of the agent's own."""
    got: list[Any] = []
    for reply in program:
        if agent is not None:
            agent.reply(*[(tools[step.tool], step.arguments) for step in reply if step.asked])
        got.extend(outcome(tools[step.tool], step.arguments, agent) for step in reply)
    return got


async def play_async(program, tools, agent: Agent) -> list[Any]:
    got: list[Any] = []
    for reply in program:
        agent.reply(*[(tools[step.tool], step.arguments) for step in reply if step.asked])
        got.extend([await outcome_async(tools[step.tool], step.arguments, agent) for step in reply])
    return got


@settings(max_examples=200, deadline=None)
@given(program=replies, cache=st.booleans(), parallel=st.booleans(), moment_s=st.sampled_from([0.0, 0.0005]))
def test_a_serial_agent_gets_what_the_plain_calls_give(program, cache, parallel, moment_s):
    """Results, exceptions, the order of writes and the world afterwards are those of serial uncached execution."""
    plain, world = World(), World(moment_s)
    expected = play(program, plain.tools(), None)
    runtime = new_runtime(cache=cache, parallel=parallel)
    try:
        assert play(program, world.tools(), new_agent(runtime)) == expected
    finally:
        runtime.close()
    assert (world.log, world.values) == (plain.log, plain.values)
    assert not any(breaker.faults for breaker in runtime.faults.breakers.values())


@settings(max_examples=200, deadline=None)
@given(program=replies, cache=st.booleans(), parallel=st.booleans())
def test_an_asynchronous_agent_gets_what_the_plain_calls_give(program, cache, parallel):
    """The same with coroutines and tasks."""
    plain, world = World(), World()
    expected = play(program, plain.tools(), None)
    runtime = new_runtime(cache=cache, parallel=parallel)
    tools = coroutines(world.tools())
    try:
        assert asyncio.run(play_async(program, tools, new_agent(runtime))) == expected
    finally:
        runtime.close()
    assert (world.log, world.values) == (plain.log, plain.values)
    assert not any(breaker.faults for breaker in runtime.faults.breakers.values())


class NamingAgent(Agent):
    """An agent whose calls carry their arguments by name, as the instrumentation's do."""

    def call(self, function, *args, **kwargs):
        call = ToolCall(function.__name__, function, args, kwargs, self.run, arguments=dict(kwargs))
        return self.runtime.around_tool(call, lambda call: call.function(*call.args, **call.kwargs))

    async def call_async(self, function, *args, **kwargs):
        async def execute(call):
            return await call.function(*call.args, **call.kwargs)

        call = ToolCall(function.__name__, function, args, kwargs, self.run, arguments=dict(kwargs))
        return await self.runtime.around_tool_async(call, execute)


def naming_agents(runtime):
    """Two commands of one conversation, one after the other."""
    for _ in range(2):
        agent = NamingAgent(runtime, RunContext("/task", "c", "", TRACER.start_span("/task")))
        yield agent
        agent.run.open = False
        runtime.run_ended(agent.run)


@settings(max_examples=150, deadline=None)
@given(program=replies, cache=st.booleans(), parallel=st.booleans(), moment_s=st.sampled_from([0.0, 0.0005]))
def test_reads_made_ahead_and_together_change_nothing(program, cache, parallel, moment_s):
    """With `preload` by rules that are often wrong and `batch_tools`, two commands see what serial execution gives."""
    plain, world = World(), World(moment_s)
    expected = [play(program, plain.tools(), None) for _ in range(2)]
    tools = world.tools()
    runtime = new_runtime(cache=cache, parallel=parallel, tools=tools)
    try:
        assert [play(program, tools, agent) for agent in naming_agents(runtime)] == expected
    finally:
        runtime.close()
    assert (world.log, world.values) == (plain.log, plain.values)
    assert not any(breaker.faults for breaker in runtime.faults.breakers.values())


@settings(max_examples=100, deadline=None)
@given(program=replies, cache=st.booleans(), parallel=st.booleans())
def test_coroutines_made_ahead_and_together_change_nothing(program, cache, parallel):
    """The same with coroutines and tasks."""
    plain, world = World(), World()
    expected = [play(program, plain.tools(), None) for _ in range(2)]
    tools = coroutines(world.tools())
    runtime = new_runtime(cache=cache, parallel=parallel, tools=tools)

    async def go():
        return [await play_async(program, tools, agent) for agent in naming_agents(runtime)]

    try:
        assert asyncio.run(go()) == expected
    finally:
        runtime.close()
    assert (world.log, world.values) == (plain.log, plain.values)
    assert not any(breaker.faults for breaker in runtime.faults.breakers.values())


def test_reads_made_ahead_are_claimed():
    """The comparison would be empty if nothing made ahead were ever claimed."""
    world = World()
    tools = world.tools()
    runtime = new_runtime(cache=False, parallel=False, tools=tools)
    claimed = 0
    for agent in naming_agents(runtime):
        play([[Step("read_one", {"key": "a"}, asked=False)], [Step("read_all", {}, asked=False)]], tools, agent)
        claimed += agent.run.span.attributes.get("perfopt.policy.preload-policy.claimed", 0)
    runtime.close()
    assert claimed >= 2


@settings(max_examples=40, deadline=None)
@given(programs=st.lists(replies, min_size=2, max_size=4))
def test_no_reader_sees_the_past(programs):
    """Several agents in threads on one store: a read never gives a value older than a write that had ended before it.

    Every write of a key gives it a higher version, so a stale answer is one below what was known to
    be written when the read was called.
    """
    versions, lock = dict.fromkeys(KEYS, 0), threading.Lock()
    stale: list[str] = []

    def read_one(key):
        value = versions[key]
        time.sleep(0.0002)
        return value

    def write_one(key):
        time.sleep(0.0002)
        with lock:
            versions[key] += 1

    runtime = new_runtime()

    def go(agent, program):
        for reply in program:
            asked = [(step.tool, step.arguments["key"]) for step in reply if step.tool in ("read_one", "write_one")]
            functions = {"read_one": read_one, "write_one": write_one}
            agent.reply(*[(functions[tool], {"key": key}) for tool, key in asked])
            for tool, key in asked:
                known = versions[key]
                value = agent.call(functions[tool], key=key)
                if tool == "read_one" and value < known:
                    stale.append(f"{key}: {value} < {known}")

    threads = [
        threading.Thread(target=go, args=(new_agent(runtime, f"c{i}"), program)) for i, program in enumerate(programs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    runtime.close()
    assert stale == []


@settings(max_examples=60, deadline=None)
@given(program=replies)
def test_shadow_finds_no_false_hit_and_changes_nothing(program):
    """Where every write goes through a tool, the cache's word and the truth never differ."""
    plain, world = World(), World()
    expected = play(program, plain.tools(), None)
    runtime = Runtime(
        FixedSource(snapshot(decision("tool_cache", stage="shadow"), decision("parallel_tools", stage="shadow"))),
        spans=CallSpans(),
    )
    agent = new_agent(runtime)
    assert play(program, world.tools(), agent) == expected
    runtime.close()
    assert world.log == plain.log
    assert "perfopt.policy.tool-cache-policy.shadow.false_hits" not in agent.run.span.attributes


def test_shadow_does_find_false_hits():
    """A store that changes behind the tools' backs makes the same check fail."""
    world = World()
    tools = world.tools()
    runtime = Runtime(FixedSource(snapshot(decision("tool_cache", stage="shadow"))), spans=CallSpans())
    agent = new_agent(runtime)
    agent.call(tools["read_one"], key="a")
    world.values["a"] = 1
    agent.call(tools["read_one"], key="a")
    assert agent.run.span.attributes["perfopt.policy.tool-cache-policy.shadow.false_hits"] == 1
    runtime.close()


@pytest.mark.parametrize("scope", ["process", "conversation"])
def test_repeated_programs_do_hit(scope):
    """The comparison would be empty if nothing were ever answered from the cache or joined."""
    world = World()
    tools = world.tools()
    runtime = new_runtime(scope=scope)
    agent = new_agent(runtime)
    program = [[Step("read_one", {"key": key}) for key in "abab"], [Step("read_one", {"key": "a"})]]
    play(program, tools, agent)
    attributes = agent.run.span.attributes
    assert attributes["perfopt.policy.tool-cache-policy.hits"] == 3
    assert attributes["perfopt.policy.parallel-tools-policy.claimed"] == 2
    runtime.close()
