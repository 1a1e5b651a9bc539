"""What `tool_cache` promises."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest
from governed import Agent, decision, snapshot

from otel_perfopt.act.clock import Clock
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.snapshot_source import FixedSource
from otel_perfopt.act.write_journal import MAX_REMEMBERED
from otel_perfopt.decide.allocation import Allocation


class Store:
    """A small world with one read and one write tool."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.reads = 0

    def tools(self):
        def read(key: str, default: object = None) -> object:
            self.reads += 1
            return self.values.get(key, default)

        def write(key: str, value: object) -> str:
            self.values[key] = value
            return "ok"

        return read, write


@pytest.fixture
def store() -> Store:
    return Store()


def test_an_equal_read_is_answered_without_calling_the_tool(new_agent, store):
    """Positional, keyword and defaulted arguments make one key, and the hit is recorded."""
    read, _ = store.tools()
    agent = new_agent(decision())
    assert [agent.call(read, "a"), agent.call(read, key="a"), agent.call(read, "a", None)] == [None] * 3
    assert store.reads == 1
    assert [hit.span_attributes["perfopt.cache.hit"] for hit in agent.hits] == [True, True]


def test_types_of_arguments_are_told_apart(new_agent):
    """`1`, `1.0` and `True` are equal to Python and different to a tool."""
    seen = []

    def read(value):
        seen.append(value)
        return repr(value)

    agent = new_agent(decision())
    assert [agent.call(read, v) for v in (1, 1.0, True, 0.0, -0.0, [1], (1,), "1", b"1", None)] == [
        "1",
        "1.0",
        "True",
        "0.0",
        "-0.0",
        "[1]",
        "(1,)",
        "'1'",
        "b'1'",
        "None",
    ]
    assert len(seen) == 10


def test_a_write_makes_every_earlier_read_out_of_date(new_agent, store):
    """What was read before a write is read again after it, in every conversation of the process."""
    read, write = store.tools()
    agent = new_agent(decision())
    other = new_agent(runtime=agent.runtime, conversation="c2")
    assert agent.call(read, "a") is None
    other.call(write, "a", 1)
    assert agent.call(read, "a") == 1
    assert agent.call(read, "a") == 1
    assert store.reads == 2


def test_a_write_of_a_baseline_run_or_of_no_run_counts_too(new_agent, store):
    """Whoever writes, results of the treated runs go out of date; baseline itself is never served."""
    read, write = store.tools()
    half = Allocation(treatment=0.5, baseline=0.5)
    treated, compared = (
        next(f"c{i}" for i in range(100) if half.arm("s", f"c{i}") == arm) for arm in ("treatment", "baseline")
    )
    agent = new_agent(decision(allocation=half, parameters={"scope": "process"}), conversation=treated)
    baseline = new_agent(runtime=agent.runtime, conversation=compared)
    agent.call(read, "a"), agent.call(read, "a"), baseline.call(read, "a"), baseline.call(read, "a")
    assert store.reads == 3
    baseline.call(write, "a", 1)
    assert agent.call(read, "a") == 1
    baseline.run = None
    baseline.call(write, "a", 2)
    assert agent.call(read, "a") == 2


def test_a_tool_of_unknown_effects_is_not_cached_and_counts_as_a_write(new_agent, store):
    """Unknown may be anything, so it is neither repeated nor trusted to leave things as they are."""
    read, _ = store.tools()
    calls = []

    def mystery():
        calls.append(1)

    agent = new_agent(decision())
    agent.call(read, "a"), agent.call(mystery), agent.call(mystery), agent.call(read, "a")
    assert (len(calls), store.reads) == (2, 2)


def test_a_write_of_another_conversation_touches_what_shares_a_value_with_it(new_agent, store):
    """Conversations come and go at any moment: only what a foreign write names, or may name, is out of date."""
    read, write = store.tools()

    def clear():
        store.values.clear()

    mine = new_agent(decision(), conversation="mine")
    other = new_agent(runtime=mine.runtime, conversation="other")
    mine.call(read, "a"), other.call(write, "b", 1), mine.call(read, "a")
    assert store.reads == 1
    other.call(write, "a", 2)
    assert mine.call(read, "a") == 2
    other.call(clear)
    assert mine.call(read, "a") is None


def test_a_write_of_the_same_conversation_touches_everything(new_agent, store):
    """What an agent itself changes it must see, whatever the write names."""
    read, write = store.tools()
    agent = new_agent(decision())
    agent.call(read, "a"), agent.call(write, "b", 1), agent.call(read, "a")
    assert store.reads == 2


def test_nothing_older_than_the_remembered_writes_is_trusted(new_agent, store):
    """The journal is bounded; a result older than what it remembers is read again."""
    read, write = store.tools()
    mine = new_agent(decision(), conversation="mine")
    other = new_agent(runtime=mine.runtime, conversation="other")
    mine.call(read, "a")
    for number in range(MAX_REMEMBERED + 1):
        other.call(write, f"other-{number}", number)
    mine.call(read, "a")
    assert store.reads == 2


def test_invalidates_narrows_what_a_write_touches(new_agent, store):
    """A mapping keeps reads that a write is said not to touch; a write nobody named touches all."""
    read, write = store.tools()

    def write_log():
        return None

    agent = new_agent(decision(parameters={"invalidates": {"write_log": ["read_logs"]}}))
    agent.call(read, "a"), agent.call(write_log), agent.call(read, "a")
    assert store.reads == 1
    agent.call(write, "a", 1)
    assert agent.call(read, "a") == 1


def test_a_list_of_invalidating_tools_is_complete(new_agent, store):
    """As a list, `invalidates` names all writes that count."""
    read, write = store.tools()
    agent = new_agent(decision(parameters={"invalidates": ["write_else"]}))
    agent.call(read, "a"), agent.call(write, "a", 1)
    assert agent.call(read, "a") is None


def test_a_read_in_flight_during_a_write_is_not_kept(new_agent):
    """Its result may be older than the write, so the next read asks again."""
    world, began, go_on = {"a": 1}, threading.Event(), threading.Event()

    def read():
        value = world["a"]
        began.set()
        go_on.wait(5)
        return value

    def write():
        world["a"] = 2

    agent = new_agent(decision())
    got = []
    thread = threading.Thread(target=lambda: got.append(agent.call(read)))
    thread.start()
    assert began.wait(5)
    agent.call(write)
    go_on.set()
    thread.join(5)
    assert got == [1]
    assert agent.call(read) == 2


def test_no_hit_while_a_write_is_under_way(new_agent, store):
    """From its beginning to its end a write may be visible to some and not to others."""
    read, _ = store.tools()
    agent = new_agent(decision())
    inside = []

    def write():
        inside.append(agent.call(read, "a"))

    agent.call(read, "a")
    agent.call(write)
    agent.call(read, "a")
    assert store.reads == 3


def test_errors_are_not_kept(new_agent):
    """A failed call raises its own exception, and the next one is made."""
    outcomes = iter([ValueError("first"), 7])

    def read():
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    agent = new_agent(decision())
    with pytest.raises(ValueError, match="first"):
        agent.call(read)
    assert [agent.call(read), agent.call(read)] == [7, 7]


def test_a_result_is_private(new_agent):
    """What one caller does to a result nobody else sees."""

    def read():
        return {"items": [1]}

    agent = new_agent(decision())
    for _ in range(3):
        result = agent.call(read)
        assert result == {"items": [1]}
        result["items"].append(2)


@pytest.mark.parametrize("make", [lambda: iter([1]), threading.Lock, Path("/dev/null").open, lambda: (x for x in "a")])
def test_what_has_no_copy_is_not_kept(new_agent, make):
    """Iterators, locks, files and generators are made anew for each caller."""
    made = []

    def read():
        made.append(make())
        return made[-1]

    agent = new_agent(decision())
    assert agent.call(read) is made[0]
    assert agent.call(read) is made[1]
    for item in made:
        if hasattr(item, "close"):
            item.close()


def test_unkeyable_arguments_are_never_cached(new_agent):
    """An object as argument has no value to compare by."""
    calls = []

    def read(thing):
        calls.append(thing)

    agent = new_agent(decision())
    thing = object()
    agent.call(read, thing), agent.call(read, thing), agent.call(read, {1: 2}), agent.call(read, {1: 2})
    assert len(calls) == 4


def test_two_closures_of_one_name_share_nothing(new_agent):
    """A tool made for one customer never answers for another, even with scope process."""

    def make(customer):
        def read():
            return customer

        return read

    agent = new_agent(decision(parameters={"scope": "process"}))
    mine, yours = make("mine"), make("yours")
    assert [agent.call(mine), agent.call(yours), agent.call(mine)] == ["mine", "yours", "mine"]


def test_methods_of_two_objects_share_nothing(new_agent):
    """The object counts by identity, bound or as the first argument."""

    class Shelf:
        def __init__(self, name):
            self.name = name

        def read(self):
            return self.name

    one, two = Shelf("one"), Shelf("two")
    agent = new_agent(decision())
    assert [agent.call(s.read) for s in (one, two, one)] == ["one", "two", "one"]
    assert [agent.call(Shelf.read, s) for s in (one, two, one)] == ["one", "two", "one"]


@pytest.mark.parametrize(
    ("scope", "first", "second", "shared"),
    [
        ("conversation", {"conversation": "c1"}, {"conversation": "c2"}, False),
        ("conversation", {"conversation": "c1"}, {"conversation": "c1"}, True),
        ("conversation", {"conversation": "c1", "user": "u"}, {"conversation": "c1", "user": "v"}, False),
        ("conversation", {"conversation": ""}, {"conversation": ""}, False),
        ("user", {"conversation": "c1", "user": "u"}, {"conversation": "c2", "user": "u"}, True),
        ("user", {"conversation": "c1"}, {"conversation": "c1"}, False),
        ("tenant", {"conversation": "c1"}, {"conversation": "c1"}, True),
        ("process", {"conversation": "c1", "user": "u"}, {"conversation": "c2", "user": "v"}, True),
    ],
)
def test_only_the_scope_shares_results(new_agent, store, scope, first, second, shared):  # noqa: PLR0917 - one row
    """Results cross from one run to another only inside the declared scope."""
    read, _ = store.tools()
    agent = new_agent(decision(parameters={"scope": scope}), **first)
    other = new_agent(runtime=agent.runtime, **second)
    agent.call(read, "a"), other.call(read, "a")
    assert store.reads == (1 if shared else 2)


def test_results_age(new_run, store):
    """A result is as old as the moment its call began."""
    now = [0]
    clock = Clock(monotonic_ns=lambda: now[0])
    read, _ = store.tools()
    runtime = Runtime(FixedSource(snapshot(decision(parameters={"ttl": "5m"}))), clock=clock)
    agent = Agent(runtime, new_run())
    agent.call(read, "a")
    now[0] = 299 * 10**9
    agent.call(read, "a")
    assert store.reads == 1
    now[0] = 300 * 10**9
    agent.call(read, "a")
    assert store.reads == 2


def test_memory_is_bounded_in_entries_and_bytes(new_agent):
    """The least recently used results go first, and one that is too large is not kept at all."""
    made = []

    def read(key, size=10):
        made.append(key)
        return "x" * size

    agent = new_agent(decision(parameters={"max_entries": 2, "max_bytes": 10_000}))
    for key in ("a", "b", "a", "c", "a", "b"):
        agent.call(read, key)
    assert made == ["a", "b", "c", "b"]
    for key in ("d", "d"):
        agent.call(read, key, size=20_000)
    assert made == ["a", "b", "c", "b", "d", "d"]
    (cache_store,) = agent.runtime._cache._stores.values()
    assert len(cache_store) <= 2
    assert 0 < cache_store.bytes <= 10_000


def test_equal_calls_at_the_same_time_are_made_once(new_agent):
    """Waiting threads get the leader's result, each its own copy."""
    calls, gate = [], threading.Event()

    def read():
        calls.append(1)
        gate.wait(5)
        return [1]

    agent = new_agent(decision())
    got = []
    threads = [threading.Thread(target=lambda: got.append(agent.call(read))) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    gate.set()
    for thread in threads:
        thread.join(5)
    assert got == [[1]] * 6
    assert len({id(item) for item in got}) == 6
    assert len(calls) == 1


def test_waiters_of_a_failed_call_call_for_themselves(new_agent):
    """Nobody is given somebody else's exception."""
    calls, gate = [], threading.Event()
    lock = threading.Lock()

    def read():
        with lock:
            calls.append(1)
            first = len(calls) == 1
        if first:
            gate.wait(5)
            raise ValueError("leader")
        return 5

    agent = new_agent(decision())
    got, errors = [], []

    def go():
        try:
            got.append(agent.call(read))
        except ValueError as error:
            errors.append(error)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    gate.set()
    for thread in threads:
        thread.join(5)
    assert (len(errors), got) == (1, [5, 5, 5])


def test_a_waiter_does_not_wait_for_ever(new_agent):
    """A leader that hangs (it may need the waiter's lock) holds nobody longer than the bound."""
    held, calls = threading.RLock(), []

    def read():
        calls.append(threading.get_ident())
        with held:
            return 1

    agent = new_agent(decision(parameters={"max_wait_s": 0.2}))
    with held:
        thread = threading.Thread(target=agent.call, args=(read,), daemon=True)
        thread.start()
        while not calls:
            time.sleep(0.01)
        assert agent.call(read) == 1
    thread.join(5)
    assert len(calls) == 2


def test_a_recursive_read_does_not_wait_for_itself(new_agent):
    """The leader's own equal call inside is made plainly."""
    depth = []

    def read():
        depth.append(1)
        return agent.call(read) if len(depth) < 3 else 9

    agent = new_agent(decision(parameters={"max_wait_s": 30}))
    began = time.monotonic()
    assert agent.call(read) == 9
    assert time.monotonic() - began < 5


async def test_coroutines_share_one_call(new_agent):
    """Equal asynchronous calls at the same time are made once, and later ones are hits."""
    calls = []

    async def read():
        calls.append(1)
        await asyncio.sleep(0.02)
        return {"n": 1}

    agent = new_agent(decision())
    assert await asyncio.gather(*(agent.call_async(read) for _ in range(5))) == [{"n": 1}] * 5
    assert await agent.call_async(read) == {"n": 1}
    assert len(calls) == 1


async def test_a_cancelled_leader_does_not_poison_the_waiters(new_agent):
    """Cancelling one task cancels its call only; the others get a result."""
    calls = []

    async def read():
        calls.append(1)
        await asyncio.sleep(0.05)
        return 3

    agent = new_agent(decision())
    tasks = [asyncio.create_task(agent.call_async(read)) for _ in range(3)]
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert await asyncio.gather(*tasks[1:]) == [3, 3]
    assert await agent.call_async(read) == 3


async def test_a_cancelled_waiter_leaves_the_call_alone(new_agent):
    """The leader and the other waiters go on."""
    calls = []

    async def read():
        calls.append(1)
        await asyncio.sleep(0.05)
        return 3

    agent = new_agent(decision())
    tasks = [asyncio.create_task(agent.call_async(read)) for _ in range(3)]
    await asyncio.sleep(0.01)
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[0] == results[2] == 3
    assert isinstance(results[1], asyncio.CancelledError)
    assert len(calls) == 1


def test_shadow_never_changes_a_result_and_counts_what_it_would_have_said(new_agent):
    """Every call is made; true and false hits are on the command's span."""
    hidden = iter([1, 1, 2])

    def read():
        return next(hidden)

    agent = new_agent(decision(stage="shadow"))
    assert [agent.call(read) for _ in range(3)] == [1, 1, 2]
    attributes = agent.run.span.attributes
    prefix = "perfopt.policy.tool-cache-policy."
    assert attributes[prefix + "shadow.true_hits"] == 1
    assert attributes[prefix + "shadow.false_hits"] == 1
    assert attributes[prefix + "misses"] == 1
    assert attributes[prefix + "stage"] == "shadow"
    assert attributes[prefix + "arm"] == "baseline"
    assert agent.hits == []


def test_what_a_run_saved_is_on_its_span(new_agent):
    """Hits, misses and the time not spent are counted for the run."""

    def read():
        time.sleep(0.02)
        return 1

    agent = new_agent(decision())
    for _ in range(3):
        agent.call(read)
    attributes = agent.run.span.attributes
    assert attributes["perfopt.policy.tool-cache-policy.hits"] == 2
    assert attributes["perfopt.policy.tool-cache-policy.misses"] == 1
    assert attributes["perfopt.policy.tool-cache-policy.saved_ns"] >= 2 * 19_000_000
