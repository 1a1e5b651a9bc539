"""What `parallel_tools` promises."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sqlite3
import threading
import time

import pytest
from governed import decision

from otel_perfopt.decide.allocation import Allocation

PREFIX = "perfopt.policy.parallel-tools-policy."


def parallel(**changes):
    return decision("parallel_tools", **changes)


def counts(agent):
    return {name.removeprefix(PREFIX): value for name, value in agent.run.span.attributes.items() if PREFIX in name}


def slow_tools(seconds=0.1):
    log = []

    def read(key):
        log.append(("begin", key, threading.get_ident()))
        time.sleep(seconds)
        return f"value of {key}"

    def write(key):
        log.append(("write", key, threading.get_ident()))
        return "written"

    return read, write, log


def test_reads_of_one_reply_run_at_once(new_agent):
    """Three reads of 0.1 s take little more than one, in the order asked, with their own results."""
    read, _, log = slow_tools()
    agent = new_agent(parallel())
    began = time.monotonic()
    agent.reply(*[(read, {"key": key}) for key in "abc"])
    assert [agent.call(read, key) for key in "abc"] == [f"value of {key}" for key in "abc"]
    assert time.monotonic() - began < 0.25
    assert sorted(key for _, key, _ in log) == ["a", "b", "c"]
    assert threading.get_ident() not in {thread for *_, thread in log}
    found = counts(agent)
    assert (found["started"], found["claimed"], found["wasted"]) == (3, 3, 0)
    assert found["saved_ns"] < 0.25e9


def test_a_write_is_a_barrier(new_agent):
    """Reads asked for after a write begin only when it has been made."""
    read, write, log = slow_tools(0.02)
    agent = new_agent(parallel())
    agent.reply(
        (read, {"key": "a"}), (read, {"key": "b"}), (write, {"key": "w"}), (read, {"key": "c"}), (read, {"key": "d"})
    )
    agent.call(read, "a"), agent.call(read, "b")
    time.sleep(0.05)
    assert [key for _, key, _ in log if key in "wcd"] == []
    agent.call(write, "w")
    assert [agent.call(read, key) for key in "cd"] == ["value of c", "value of d"]
    assert [key for _, key, _ in log].index("w") == 2
    assert counts(agent)["claimed"] == 4


def test_an_early_result_from_before_a_write_is_not_handed_over(new_agent):
    """An agent that writes first, whatever the reply's order was, reads what it wrote."""
    world = {"a": 1, "b": 1}

    def read(key):
        return world[key]

    def write(key, value):
        world[key] = value

    agent = new_agent(parallel())
    agent.reply((read, {"key": "a"}), (read, {"key": "b"}))
    time.sleep(0.05)
    agent.call(write, "a", 2)
    assert [agent.call(read, "a"), agent.call(read, "b")] == [2, 1]
    assert counts(agent)["discarded"] == 2


def test_a_call_with_other_arguments_runs_plainly(new_agent):
    """Only the arguments that were asked for are joined; calls never claimed are counted as wasted."""
    read, _, log = slow_tools(0.01)
    agent = new_agent(parallel())
    agent.reply((read, {"key": "a"}), (read, {"key": "b"}))
    assert agent.call(read, "z") == "value of z"
    assert agent.call(read, "b") == "value of b"
    assert counts(agent)["wasted"] == 1
    assert sorted(key for _, key, _ in log) == ["a", "b", "z"]


def test_an_early_result_is_claimed_once(new_agent):
    """A second equal call is made again; two equal requests are two calls."""
    read, _, log = slow_tools(0.01)
    agent = new_agent(parallel())
    agent.reply((read, {"key": "a"}), (read, {"key": "a"}))
    for _ in range(3):
        assert agent.call(read, "a") == "value of a"
    assert len(log) == 3


def test_a_new_reply_ends_the_old_one(new_agent):
    """Results that were not claimed by then are never given to a later call."""
    read, _, log = slow_tools(0.01)
    agent = new_agent(parallel())
    agent.reply((read, {"key": "a"}), (read, {"key": "b"}))
    agent.reply((read, {"key": "c"}), (read, {"key": "d"}))
    agent.call(read, "a")
    assert [key for _, key, _ in log].count("a") == 2


def test_an_exception_is_the_plain_calls(new_agent):
    """The agent sees the exception of a call in its own thread, at its own moment; an unclaimed one is swallowed."""

    def read(key):
        raise KeyError(key, threading.get_ident())

    agent = new_agent(parallel())
    agent.reply((read, {"key": "a"}), (read, {"key": "b"}))
    time.sleep(0.05)
    with pytest.raises(KeyError) as caught:
        agent.call(read, "a")
    assert caught.value.args == ("a", threading.get_ident())


def test_a_tool_bound_to_the_agents_thread_keeps_working(new_agent):
    """An sqlite3 connection refuses other threads: the plain call is made, and after three such failures only it."""
    database = sqlite3.connect(":memory:")
    tried = []

    def read(key):
        tried.append(threading.get_ident())
        return database.execute("SELECT ?", (key,)).fetchall()

    agent = new_agent(parallel())
    for _ in range(4):
        agent.reply((read, {"key": "a"}), (read, {"key": "b"}))
        assert [agent.call(read, "a"), agent.call(read, "b")] == [[("a",)], [("b",)]]
    mine = tried.count(threading.get_ident())
    assert mine == 8
    assert 3 <= len(tried) - mine <= 4
    database.close()


def test_a_tool_that_always_fails_is_not_taken_for_a_thread_bound_one(new_agent):
    """When the plain call raises too, the failure is the tool's own and early calls go on."""

    def read(key):
        raise ValueError(key)

    agent = new_agent(parallel())
    for _ in range(5):
        agent.reply((read, {"key": "a"}), (read, {"key": "b"}))
        for key in "ab":
            with pytest.raises(ValueError, match=key):
                agent.call(read, key)
    assert counts(agent)["started"] == 10


def test_an_early_call_that_hangs_holds_nobody_for_long(new_agent):
    """A lock that the agent's thread holds would be waited for on both sides for ever; the wait is bounded."""
    lock = threading.RLock()

    def read(key):
        with lock:
            return key

    agent = new_agent(parallel(parameters={"max_wait_s": 0.2}))
    with lock:
        agent.reply((read, {"key": "a"}), (read, {"key": "b"}))
        began = time.monotonic()
        assert [agent.call(read, "a"), agent.call(read, "b")] == ["a", "b"]
        assert time.monotonic() - began < 1.0


def test_context_variables_go_along(new_agent):
    """An early call sees what the agent's own context held at the reply."""
    user = contextvars.ContextVar("user")
    user.set("ada")

    def read(key):
        return user.get(), key

    agent = new_agent(parallel())
    agent.reply((read, {"key": 1}), (read, {"key": 2}))
    assert [agent.call(read, 1), agent.call(read, 2)] == [("ada", 1), ("ada", 2)]
    assert counts(agent)["claimed"] == 2


def test_a_result_that_is_no_data_is_not_handed_over(new_agent):
    """A generator made in another thread may be bound to it; streaming tools are left alone altogether."""

    def read(key):
        return iter([key])

    def read_stream(key):
        yield key

    agent = new_agent(parallel())
    agent.reply((read, {"key": "a"}), (read, {"key": "b"}))
    assert [list(agent.call(read, "a")), list(agent.call(read, "b"))] == [["a"], ["b"]]
    before = counts(agent)["started"]
    agent.reply((read_stream, {"key": "a"}), (read_stream, {"key": "b"}))
    assert [list(agent.call(read_stream, key)) for key in "ab"] == [["a"], ["b"]]
    assert counts(agent)["started"] == before


def test_a_full_pool_means_plain_calls(new_agent):
    """More reads than threads: the rest are made by the agent itself, and all results are right."""
    read, _, _ = slow_tools(0.02)
    agent = new_agent(parallel(parameters={"max_concurrency": 64}))
    keys = [f"k{i}" for i in range(40)]
    agent.reply(*[(read, {"key": key}) for key in keys])
    assert [agent.call(read, key) for key in keys] == [f"value of {key}" for key in keys]


def test_no_more_run_at_once_than_allowed(new_agent):
    """`max_concurrency` holds, and a claimed call makes room for the next."""
    running, most, lock = [0], [0], threading.Lock()

    def read(key):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1
        return key

    agent = new_agent(parallel(parameters={"max_concurrency": 3}))
    agent.reply(*[(read, {"key": i}) for i in range(9)])
    assert [agent.call(read, i) for i in range(9)] == list(range(9))
    assert most[0] <= 3
    assert counts(agent)["claimed"] == 9


def test_a_tool_whose_early_calls_nobody_wants_is_left_alone(new_agent):
    """After five early calls in a row that were not claimed, the tool is not called early again."""
    read, _, log = slow_tools(0.0)
    agent = new_agent(parallel())
    for _ in range(6):
        agent.reply((read, {"key": "a"}), (read, {"key": "b"}))
    time.sleep(0.05)
    assert len(log) == 6


def test_a_run_that_ends_takes_its_early_calls_along(new_agent):
    """Results nobody can claim any more are let go and counted against the tool."""
    read, _, _ = slow_tools(0.0)
    agent = new_agent(parallel())
    agent.reply((read, {"key": "a"}), (read, {"key": "b"}))
    time.sleep(0.05)
    record = agent.runtime._parallel._record
    agent.run = None
    gc.collect()
    assert record._tools["read"].wasted == 2


def test_one_read_alone_is_not_made_early(new_agent):
    """There is nothing to run it beside, and such a run is not enrolled."""
    read, write, log = slow_tools(0.0)
    agent = new_agent(parallel())
    agent.reply((read, {"key": "a"}), (write, {"key": "w"}), (read, {"key": "b"}))
    assert (log, counts(agent)) == ([], {})


def test_both_arms_are_enrolled_by_the_same_replies(new_agent):
    """Baseline says so on its span and makes every call plainly."""
    read, _, log = slow_tools(0.0)
    agent = new_agent(parallel(allocation=Allocation(baseline=1.0)))
    agent.reply((read, {"key": "a"}), (read, {"key": "b"}))
    time.sleep(0.02)
    assert log == []
    assert counts(agent) == {"arm": "baseline", "digest": "d1", "stage": "canary-1", "allocation": 0.0}


def test_shadow_starts_nothing_and_estimates(new_agent):
    """In shadow the calls stay serial, and what overlap would have saved is counted."""
    read, _, log = slow_tools(0.02)
    agent = new_agent(parallel(stage="shadow"))
    agent.reply((read, {"key": "a"}), (read, {"key": "b"}), (read, {"key": "c"}))
    time.sleep(0.03)
    assert log == []
    for key in "abc":
        agent.call(read, key)
    found = counts(agent)
    assert found["claimed"] == 3
    assert 0.03e9 < found["saved_ns"] < 0.08e9
    assert "started" not in found


async def test_coroutines_run_at_once(new_agent):
    """Asynchronous tools become tasks of the running loop."""

    async def read(key):
        await asyncio.sleep(0.1)
        return key

    agent = new_agent(parallel())
    began = time.monotonic()
    agent.reply(*[(read, {"key": key}) for key in "abc"])
    assert [await agent.call_async(read, key) for key in "abc"] == ["a", "b", "c"]
    assert time.monotonic() - began < 0.25
    assert counts(agent)["claimed"] == 3


async def test_cancelling_the_agent_cancels_the_joined_call(new_agent):
    """A cancellation lands in the tool, as it would have in the plain call."""
    cancelled = []

    async def read(key):
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cancelled.append(key)
            raise

    agent = new_agent(parallel())
    agent.reply((read, {"key": "a"}), (read, {"key": "b"}))
    task = asyncio.create_task(agent.call_async(read, "a"))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled == ["a"]
    agent.reply((read, {"key": "c"}), (read, {"key": "d"}))
    await asyncio.sleep(0.02)
    assert cancelled == ["a", "b"]


async def test_an_asynchronous_exception_is_the_plain_calls(new_agent):
    """What an early task raised nobody sees, not even the loop's exception handler."""
    seen = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context))
    calls = []

    async def read(key):
        calls.append(key)
        raise ValueError(key)

    agent = new_agent(parallel())
    agent.reply((read, {"key": "a"}), (read, {"key": "b"}))
    with pytest.raises(ValueError, match="a"):
        await agent.call_async(read, "a")
    agent.reply((read, {"key": "c"}), (read, {"key": "d"}))
    await asyncio.sleep(0.01)
    agent.run = None
    gc.collect()
    await asyncio.sleep(0)
    assert seen == []
    assert calls.count("a") == 2


async def test_synchronous_tools_of_an_asynchronous_agent(new_agent):
    """They run in threads and are joined in the loop's thread, as the plain call would have blocked it."""
    read, _, _ = slow_tools(0.05)
    agent = new_agent(parallel())
    began = time.monotonic()
    agent.reply((read, {"key": "a"}), (read, {"key": "b"}), (read, {"key": "c"}))
    assert [agent.call(read, key) for key in "abc"] == [f"value of {key}" for key in "abc"]
    assert time.monotonic() - began < 0.14


def test_with_the_cache_nothing_is_made_twice(new_agent):
    """What the cache will answer is not made early, and what was made early fills the cache."""
    read, _, log = slow_tools(0.01)
    agent = new_agent(decision(), parallel())
    agent.call(read, "a")
    agent.reply((read, {"key": "a"}), (read, {"key": "b"}), (read, {"key": "c"}), (read, {"key": "c"}))
    assert [agent.call(read, key) for key in "abcc"] == [f"value of {key}" for key in "abcc"]
    assert sorted(key for _, key, _ in log) == ["a", "b", "c"]
    attributes = agent.run.span.attributes
    assert attributes["perfopt.policy.tool-cache-policy.hits"] == 2
    assert counts(agent)["claimed"] == 2
