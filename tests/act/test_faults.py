"""Faults injected into every part: the agent's answers stay what they are without the extension."""

from __future__ import annotations

import asyncio

import pytest
from governed import Agent, decision

from otel_perfopt.act import breaker, early_batch, early_call, enrolment, parallel_tools, run_tally, runtime, tool_cache
from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.middleware import guard, guard_async
from otel_perfopt.act.parameters.table import Seam, names_at
from otel_perfopt.act.patience import Patience
from otel_perfopt.act.result_store import ResultStore
from otel_perfopt.act.selection import Plan, Rule
from otel_perfopt.act.single_flight import FlightBoard
from otel_perfopt.act.snapshot_source import FixedSource
from otel_perfopt.act.speculation_pool import SpeculationPool
from otel_perfopt.act.tool_record import ToolRecord
from otel_perfopt.act.write_journal import WriteJournal

HOOKS = [
    (FixedSource, "current"),
    (FixedSource, "stalled"),
    (Plan, "select"),
    (Plan, "governs_like"),
    (Rule, "effects"),
    (Rule, "touches"),
    (WriteJournal, "now"),
    (WriteJournal, "begin"),
    (WriteJournal, "end"),
    (WriteJournal, "disturb"),
    (WriteJournal, "quiet_since"),
    (ResultStore, "get"),
    (ResultStore, "put"),
    (ResultStore, "discard"),
    (FlightBoard, "join"),
    (FlightBoard, "join_async"),
    (FlightBoard, "land"),
    (Patience, "observe"),
    (Patience, "limit_s"),
    (SpeculationPool, "submit"),
    (ToolRecord, "worth_starting"),
    (ToolRecord, "claimed"),
    (ToolRecord, "failed"),
    (early_batch.EarlyBatch, "claim"),
    (early_batch.EarlyBatch, "passed"),
    (early_batch.EarlyBatch, "settled"),
    (early_batch.EarlyBatch, "close"),
    (early_call.EarlyCall, "wait"),
    (early_call.EarlyCall, "wait_async"),
    (early_call.EarlyCall, "give_up"),
    (early_call.EarlyCall, "run_in"),
    (breaker.Breaker, "allow"),
    (breaker.Breaker, "failed"),
    (breaker.Breaker, "succeeded"),
    (runtime, "enrol"),
    (runtime, "use_of"),
    (enrolment, "_stamp"),
    (run_tally.RunTally, "add"),
    (tool_cache, "call_key"),
    (tool_cache, "keep"),
    (tool_cache, "count"),
    (parallel_tools, "call_key"),
    (parallel_tools, "count"),
    (parallel_tools, "is_live"),
]
BOTH = (
    decision("tool_cache", parameters={"max_wait_s": 0.2}),
    decision("parallel_tools", parameters={"max_wait_s": 0.2}),
)


class InjectedError(Exception):
    """What our own code raises in these tests."""


def broken(*args, **kwargs):
    raise InjectedError


class World:
    """Two reads and a write; `writes` is the order in which they were made."""

    def __init__(self) -> None:
        self.values = {"a": 1, "b": 2}
        self.writes: list[tuple[str, int]] = []

        def read(key):
            if key == "none":
                raise KeyError(key)
            return {"value": self.values[key]}

        def write(key, value):
            self.values[key] = value
            self.writes.append((key, value))
            if value < 0:
                raise ValueError("negative")
            return value

        async def read_later(key):
            await asyncio.sleep(0)
            return read(key)

        async def write_later(key, value):
            await asyncio.sleep(0)
            return write(key, value)

        self.read, self.write, self.read_later, self.write_later = read, write, read_later, write_later


def session(agent: Agent | None, world: World) -> list[object]:
    """One serial agent's doings; without an agent, the plain calls."""
    got: list[object] = []

    def call(function, **arguments):
        try:
            got.append(function(**arguments) if agent is None else agent.call(function, **arguments))
        except (KeyError, ValueError) as error:
            got.append(repr(error))

    read, write = world.read, world.write
    for round_number in range(3):
        asked = [
            (read, {"key": "a"}), (read, {"key": "b"}), (read, {"key": "none"}),
            (write, {"key": "a", "value": round_number}), (read, {"key": "a"}), (read, {"key": "b"}),
            (write, {"key": "b", "value": -round_number}), (read, {"key": "b"}), (read, {"key": "b"}),
        ]  # fmt: skip
        if agent is not None:
            agent.reply(*asked)
        for function, arguments in asked:
            call(function, **arguments)
    return got


async def outcome_async(function, arguments, agent: Agent | None) -> object:
    try:
        return await (function(**arguments) if agent is None else agent.call_async(function, **arguments))
    except (KeyError, ValueError) as error:
        return repr(error)


async def session_async(agent: Agent | None, world: World) -> list[object]:
    got: list[object] = []
    read, write = world.read_later, world.write_later
    for round_number in range(3):
        asked = [
            (read, {"key": "a"}), (read, {"key": "b"}), (read, {"key": "none"}),
            (write, {"key": "a", "value": round_number}), (read, {"key": "a"}), (read, {"key": "b"}),
            (write, {"key": "b", "value": -round_number}), (read, {"key": "b"}),
        ]  # fmt: skip
        if agent is not None:
            agent.reply(*asked)
        for function, arguments in asked:
            got.append(await outcome_async(function, arguments, agent))
    return got


@pytest.mark.parametrize("stage", ["canary-1", "shadow"])
@pytest.mark.parametrize(("owner", "name"), HOOKS, ids=lambda item: getattr(item, "__name__", item))
def test_an_exception_in_any_hook_changes_no_answer(new_run, new_runtime, monkeypatch, owner, name, stage):  # noqa: PLR0917
    """Same results, same exceptions, same writes made once, for synchronous agents."""
    expected_world, world = World(), World()
    expected = session(None, expected_world)
    plans = [decision(item.optimization, parameters=item.parameters, stage=stage) for item in BOTH]
    agent = Agent(new_runtime(*plans), new_run())
    monkeypatch.setattr(owner, name, broken)
    assert session(agent, world) == expected
    assert world.writes == expected_world.writes


@pytest.mark.parametrize(("owner", "name"), HOOKS, ids=lambda item: getattr(item, "__name__", item))
async def test_an_exception_in_any_hook_changes_no_asynchronous_answer(new_run, new_runtime, monkeypatch, owner, name):
    """The same for asynchronous agents."""
    expected_world, world = World(), World()
    expected = await session_async(None, expected_world)
    agent = Agent(new_runtime(*BOTH), new_run())
    monkeypatch.setattr(owner, name, broken)
    assert await session_async(agent, world) == expected
    assert world.writes == expected_world.writes


@pytest.mark.parametrize("at", [1, 2, 5, 13])
@pytest.mark.parametrize(("owner", "name"), HOOKS, ids=lambda item: getattr(item, "__name__", item))
def test_a_fault_that_comes_and_goes_changes_no_answer(new_run, new_runtime, monkeypatch, owner, name, at):  # noqa: PLR0917
    """A hook that fails once in a while, so that the parts around it go on with half the story."""
    expected_world, world = World(), World()
    expected = session(None, expected_world)
    agent = Agent(new_runtime(*BOTH), new_run())
    original, calls = getattr(owner, name), [0]

    def flaky(*args, **kwargs):
        calls[0] += 1
        if (calls[0] % at == 0 and at > 1) or (at == 1 and calls[0] == 1):
            raise InjectedError
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, flaky)
    assert session(agent, world) == expected
    assert world.writes == expected_world.writes


@pytest.mark.parametrize("name", ["record_hit", "execute"])
def test_a_fault_in_recording_changes_no_answer(new_run, new_runtime, name):
    """The signal room's own functions may fail too."""
    expected_world, world = World(), World()
    expected = session(None, expected_world)
    agent = Agent(new_runtime(*BOTH, spans=CallSpans(**{name: broken})), new_run())
    assert session(agent, world) == expected
    assert world.writes == expected_world.writes


def test_a_broken_span_changes_no_answer(new_run, new_runtime):
    """The command's span is the host's: whatever it raises stays here."""

    class BrokenSpan:
        def __getattr__(self, name):
            return broken

    expected_world, world = World(), World()
    expected = session(None, expected_world)
    agent = Agent(new_runtime(*BOTH), new_run())
    agent.run.span = BrokenSpan()
    assert session(agent, world) == expected
    assert world.writes == expected_world.writes


def test_faults_are_on_the_commands_span_and_open_the_breaker(new_run, new_runtime, monkeypatch):
    """The controller sees how many, of which optimization, and that it rests."""
    world = World()
    agent = Agent(new_runtime(*BOTH), new_run())
    monkeypatch.setattr(ResultStore, "get", broken)
    for _ in range(10):
        agent.call(world.read, "a")
    assert agent.run.span.attributes["perfopt.policy.tool-cache-policy.faults"] == 3
    events = [event for event in agent.run.span.events if event.name == "perfopt.fault"]
    assert [event.attributes["perfopt.breaker.state"] for event in events] == ["closed", "closed", "open"]
    assert events[0].attributes["error.type"] == "InjectedError"


def test_a_call_that_was_made_is_never_made_again():
    """A fault after the plain call gives its result; a fault after its exception gives its exception."""
    made, noted = [], []

    def plain(call):
        made.append(call)
        return "result"

    def fails_after(proceed):
        proceed("call")
        raise InjectedError

    def calls_twice(proceed):
        proceed("call")
        return proceed("call")

    class Call:
        run = None

    for around in (fails_after, calls_twice):
        made.clear()
        assert guard("x", around, plain, Call(), lambda *fault: noted.append(fault)) == "result"
        assert made == ["call"]
    assert len(noted) == 2

    def raises(call):
        made.append(call)
        raise ValueError("tool")

    def swallows_and_fails(proceed):
        try:
            proceed("call")
        except ValueError:
            raise InjectedError from None

    made.clear()
    with pytest.raises(ValueError, match="tool") as caught:
        guard("x", swallows_and_fails, raises, Call(), lambda *fault: noted.append(fault))
    assert made == ["call"]
    assert caught.value.__context__ is None


async def test_a_cancellation_is_no_fault():
    """It passes through and is not counted."""
    noted = []

    async def around(proceed):
        await asyncio.sleep(5)

    async def plain(call):
        return 1

    class Call:
        run = None

    task = asyncio.create_task(guard_async("x", around, plain, Call(), lambda *fault: noted.append(fault)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert noted == []


def test_the_tools_own_exception_object_arrives(new_run, new_runtime):
    """The very object that the tool raised, not a copy and not one of ours."""
    error = ValueError("mine")

    def read():
        raise error

    agent = Agent(new_runtime(*BOTH), new_run())
    with pytest.raises(ValueError, match="mine") as caught:
        agent.call(read)
    assert caught.value is error


def test_without_decisions_nothing_is_touched(new_run, new_runtime):
    """No snapshot: the call goes straight to the tool and the span stays as it is."""
    agent = Agent(new_runtime(), new_run())
    world = World()
    assert session(agent, world) == session(None, World())
    assert agent.run.span.attributes == {}


def test_the_order_of_optimizations_is_the_tables(new_runtime):
    """The table says in which order a call meets them."""
    runtime_ = new_runtime()
    assert tuple(item.name for item in runtime_._order) == names_at(Seam.TOOL)
    rewriters, middlewares = runtime_.inference._rewriters, runtime_.inference._middlewares
    assert tuple(item.name for item in (*rewriters, *middlewares)) == names_at(Seam.INFERENCE)
