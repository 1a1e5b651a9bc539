"""Results shared by several processes through a real Redis."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import shop_tools
from governed import Agent, decision, snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis_process import free_port, running_redis

from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.redis_workers import UnavailableError
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.shared_key import shared_key, to_text
from otel_perfopt.act.snapshot_source import FixedSource
from otel_perfopt.signal.calls import ToolCall

PREFIX = "perfopt.policy.tool-cache-policy."


@pytest.fixture(scope="module")
def redis_url():
    with running_redis() as url:
        yield url


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.setattr(shop_tools, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def new_process(redis_url, new_run, request, shop):
    """A runtime of its own stands for a process of its own: nothing is shared but Redis."""
    runtimes = []

    def make(store=redis_url, *, conversation="c1", connected=True, **parameters):
        values = {"scope": "process", "ttl": "30s", **parameters, "store": store}
        chosen = decision("tool_cache", digest=request.node.name, parameters=values)
        runtime = Runtime(FixedSource(snapshot(chosen)), spans=CallSpans())
        runtimes.append(runtime)
        agent = Agent(runtime, new_run(conversation=conversation))
        agent.call(shop_tools.write_stock, "first", 0)  # begins to connect
        until = time.monotonic() + 10
        while connected and not runtime._cache.shared._workers[0].connected and time.monotonic() < until:
            time.sleep(0.01)
        # An agent waits for milliseconds and then reads itself; on a busy machine that would be what is tested.
        if connected:
            runtime._cache.shared._workers[0].timeout_s = 5.0
        return agent

    yield make
    for runtime in runtimes:
        runtime.close()


def calls(folder: Path, word: str) -> int:
    path = folder / "calls"
    return path.read_text().split().count(word) if path.exists() else 0


def counts(agent):
    return {n.removeprefix(PREFIX): v for n, v in agent.run.span.attributes.items() if n.startswith(PREFIX)}


def until_kept(agent, sku="a"):
    """Results are kept without anybody waiting: look until the other process would find it."""
    for _ in range(200):
        if agent.call(shop_tools.read_stock, sku) and counts(agent).get("store_hits"):
            return True
        time.sleep(0.01)
    return False


def test_one_process_finds_what_another_has_read(shop, new_process):
    """The second process is answered with an equal result and makes no call."""
    first, second = new_process(), new_process()
    shop_tools.write_stock("a", 3)
    expected = first.call(shop_tools.read_stock, "a")
    assert until_kept(second)
    made = calls(shop, "read")
    assert second.call(shop_tools.read_stock, sku="a") == expected == {"sku": "a", "left": 3}
    assert calls(shop, "read") == made
    assert counts(second)["hits"] >= 1


def test_a_write_of_one_process_is_seen_by_the_other(shop, new_process):
    """After a write in the second process neither is given what was read before it."""
    first, second = new_process(), new_process()
    first.call(shop_tools.read_stock, "a")
    assert until_kept(first)
    second.call(shop_tools.write_stock, "a", 8)
    assert first.call(shop_tools.read_stock, "a")["left"] == 8
    assert second.call(shop_tools.read_stock, "a")["left"] == 8


def test_a_write_touches_only_what_the_policy_says(shop, new_process):
    """With `invalidates`, a write of tools that do not touch the read leaves it shared."""
    first, second = (new_process(invalidates={"write_other": ["read_stock"]}) for _ in range(2))
    first.call(shop_tools.read_stock, "a")
    assert until_kept(first)

    def write_other(sku):
        return "written"

    hits = counts(first)["hits"]
    first.call(shop_tools.read_stock, "a")
    assert counts(first)["hits"] == hits + 1
    second.call(write_other, "x")
    first.call(shop_tools.read_stock, "a")
    assert counts(first)["hits"] == hits + 1


def test_a_read_beside_a_write_is_not_kept(shop, new_process, monkeypatch):
    """What was read while another process wrote is given to nobody else."""
    first, second = new_process(), new_process()
    monkeypatch.setenv("SHOP_READ_S", "0.2")
    reading = threading.Thread(target=first.call, args=(shop_tools.read_stock, "a"))
    reading.start()
    time.sleep(0.1)
    second.call(shop_tools.write_stock, "a", 5)
    reading.join()
    monkeypatch.setenv("SHOP_READ_S", "0")
    time.sleep(0.05)
    assert second.call(shop_tools.read_stock, "a")["left"] == 5


def test_equal_calls_of_two_processes_are_made_once(shop, new_process, monkeypatch):
    """While one process makes the call the other waits for its result."""
    first, second = (new_process(max_wait_s="30s") for _ in range(2))
    monkeypatch.setenv("SHOP_READ_S", "0.3")
    made = calls(shop, "read")
    threads = [threading.Thread(target=agent.call, args=(shop_tools.read_stock, "b")) for agent in (first, second)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert calls(shop, "read") == made + 1
    assert counts(second)["store_hits"] == 1


def test_coroutines_share_too(shop, new_process):
    """The same for asynchronous tools."""
    first, second = new_process(), new_process()

    async def go():
        expected = await first.call_async(shop_tools.read_stock_later, "a")
        for _ in range(200):
            assert await second.call_async(shop_tools.read_stock_later, "a") == expected
            if counts(second).get("store_hits"):
                return True
            await asyncio.sleep(0.01)
        return False

    assert asyncio.run(go())


def test_what_is_no_json_stays_in_its_process(shop, new_process):
    """A tuple would come back as a list, so it is kept here and not shared; errors are kept nowhere."""
    first, second = new_process(), new_process()
    for _ in range(2):
        assert first.call(shop_tools.read_odd, "a") == ("a", "a tuple is no JSON")
        assert second.call(shop_tools.read_odd, "a") == ("a", "a tuple is no JSON")
        with pytest.raises(LookupError):
            first.call(shop_tools.read_fails, "a")
    assert "store_hits" not in counts(second)
    assert calls(shop, "fails") == 2


def test_tenants_share_nothing(shop, new_process):
    """With a scope of conversations, another conversation's result is not found."""
    first = new_process(scope="conversation", conversation="c1")
    second = new_process(scope="conversation", conversation="c2")
    first.call(shop_tools.read_stock, "a")
    assert until_kept(first)
    second.call(shop_tools.read_stock, "a")
    assert "store_hits" not in counts(second)


def test_without_redis_each_process_keeps_its_own(shop, new_process):
    """Nobody listens there: calls are answered from the process's own cache, nothing waits, and it is counted."""
    agent = new_process(f"redis://127.0.0.1:{free_port()}/0", connected=False)
    began = time.monotonic()
    for _ in range(20):
        agent.call(shop_tools.read_stock, "a")
    assert time.monotonic() - began < 2
    assert calls(shop, "read") == 1
    assert counts(agent)["hits"] == 19
    assert counts(agent)["store_faults"] == 20


def test_a_redis_that_hangs_delays_nobody_for_long(shop, new_process):
    """A server that accepts and never answers costs a bounded wait, and after a few none."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        agent = new_process(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", connected=False)
        agent.runtime._cache.shared._workers[0].connected = True
        began = time.monotonic()
        for _ in range(30):
            agent.call(shop_tools.read_stock, "a")
        assert time.monotonic() - began < 2.5
    assert calls(shop, "read") == 1


def test_a_write_that_redis_missed_is_told_when_it_is_back(shop, new_process):
    """While Redis is away a write is remembered, and what was shared before it is not given out when Redis is back."""
    port = free_port()
    with running_redis(port) as url:
        first = new_process(url)
        first.call(shop_tools.read_stock, "a")
        assert until_kept(first)
        workers = first.runtime._cache.shared._workers[0]
        ask, tell = workers.ask, workers.tell
        workers.ask = workers.tell = refuse
        first.call(shop_tools.write_stock, "a", 4)
        workers.ask, workers.tell = ask, tell
        second = new_process(url)
        assert first.call(shop_tools.read_stock, "a")["left"] == 4
        assert second.call(shop_tools.read_stock, "a")["left"] == 4


def refuse(*_):
    raise UnavailableError


def test_a_child_process_makes_its_own_connections(shop, new_process):
    """After a fork the parent's threads and connections are left alone, and results are still found."""
    first = new_process()
    first.call(shop_tools.read_stock, "a")
    assert until_kept(first)
    first.runtime.after_fork()
    assert until_kept(first)


def test_real_processes_share_and_invalidate(shop, redis_url):
    """Four processes read and write one world: no read is older than a write that had ended, and some are shared."""
    program = textwrap.dedent(
        """
        import json, sys, time, random
        from pathlib import Path
        sys.path[:0] = [sys.argv[1]]
        import shop_tools
        from governed import Agent, decision, snapshot
        from otel_perfopt.act.call_spans import CallSpans
        from otel_perfopt.act.runtime import Runtime
        from otel_perfopt.act.snapshot_source import FixedSource
        from otel_perfopt.signal.calls import RunContext
        from opentelemetry.sdk.trace import TracerProvider
        url, number = sys.argv[2], int(sys.argv[3])
        chosen = decision("tool_cache", parameters={"scope": "process", "ttl": "30s", "store": url})
        runtime = Runtime(FixedSource(snapshot(chosen)), spans=CallSpans())
        span = TracerProvider().get_tracer("t").start_span("/query")
        agent = Agent(runtime, RunContext("/query", f"c{number}", "", span))
        rng, stale, mine = random.Random(number), 0, 0
        agent.call(shop_tools.read_stock, "warm")
        workers = runtime._cache.shared._workers[0]
        workers.timeout_s = 20.0  # a busy machine is no fault of Redis
        while not workers.connected:
            time.sleep(0.01)
        floor = shop_tools.FOLDER / "floor"
        for turn in range(150):
            if number == 0 and rng.random() < 0.1:
                mine += 1
                agent.call(shop_tools.write_stock, "a", mine)
                floor.with_suffix(".new").write_text(str(mine))
                floor.with_suffix(".new").replace(floor)
            else:
                known = int(floor.read_text()) if floor.exists() else 0
                stale += agent.call(shop_tools.read_stock, "a")["left"] < known
        print(json.dumps({"stale": stale, **{k.rpartition(".")[2]: v for k, v in span.attributes.items()}}))
        """
    )
    here = str(Path(__file__).parent)
    environment = {**os.environ, "SHOP_FOLDER": str(shop), "SHOP_READ_S": "0.002"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, here, redis_url, str(number)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    told = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [one["stale"] for one in told] == [0, 0, 0, 0]
    assert sum(one.get("store_hits", 0) for one in told) > 50


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=20,
)


@given(plain)
def test_a_shared_result_reads_back_exactly_or_is_not_shared(value):
    """Types, order and values are those of the result, whatever it is made of."""
    text = to_text(value, 1 << 16)
    if text is not None:
        assert repr(json.loads(text)) == repr(value)


def test_only_what_is_the_same_everywhere_has_a_key():
    """Closures, lambdas and methods have state of their own; defaults and keywords make no difference."""

    def inside(sku):
        return sku

    def key(function, *args, **kwargs):
        return shared_key(ToolCall("t", function, args, kwargs), "policy")

    assert key(inside, "a") is None
    assert key(lambda sku: sku, "a") is None
    assert key(shop_tools.read_stock, object()) is None
    assert key(shop_tools.read_stock, "a") == key(shop_tools.read_stock, sku="a") != key(shop_tools.read_stock, "b")
    assert key(shop_tools.read_stock, "1") != key(shop_tools.read_stock, 1)
    assert key(shop_tools.read_odd, "a") != key(shop_tools.read_stock, "a")


turns = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from("ab"), st.none() | st.integers(0, 9)), min_size=1, max_size=12
)


def test_random_turns_of_two_processes_never_see_the_past(redis_url, new_process):
    """Reads and writes of two processes in any order: every read is what serial execution gives, and some are shared."""
    agents = [new_process(), new_process()]
    for agent in agents:
        agent.runtime._cache.shared._workers[0].timeout_s = 20.0

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(turns)
    def play(program):
        for number, key, value in program:
            if value is not None:
                agents[number].call(shop_tools.write_value, key, value)
            else:
                assert agents[number].call(shop_tools.read_value, key) == [shop_tools.VALUES.get(key, 0)]

    play()
    assert sum(counts(agent).get("store_hits", 0) for agent in agents) > 5
    assert not any(counts(agent).get("store_faults") for agent in agents)
