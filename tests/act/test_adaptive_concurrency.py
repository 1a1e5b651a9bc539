from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from types import SimpleNamespace

import pytest
from governed import decision
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.act.adaptive_concurrency import AdaptiveConcurrency, priority_of
from otel_perfopt.act.call_queue import CallQueue
from otel_perfopt.act.clock import SYSTEM_CLOCK
from otel_perfopt.act.concurrency_limit import AimdLimit, LimitBounds
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.overload import is_overload, is_transient, pause_s
from otel_perfopt.act.parameters.adaptive_concurrency import AdaptiveConcurrencyParameters
from otel_perfopt.act.selection import Plan
from otel_perfopt.act.snapshot_source import in_force_of
from otel_perfopt.signal.calls import InferenceCall, RunContext
from tests.act.governed import snapshot


class RefusalError(Exception):
    status_code = 429


def use_of(**parameters):
    plan: Plan = in_force_of(snapshot(decision("adaptive_concurrency", parameters=parameters))).plan
    return Use(plan.inference_rules[0], shadow=False)


def call(run=None):
    run = run or RunContext("/query")
    return InferenceCall("openai.chat", "openai", "m", print, {}, {}, run, is_reply=lambda result: True)


EVENTS = st.lists(st.tuples(st.booleans(), st.integers(1, 100)), max_size=200)


@given(EVENTS, st.integers(1, 8), st.integers(8, 40))
def test_a_limit_stays_within_its_bounds_and_moves_the_right_way(events, least, most):
    """Success never lowers it, overload never raises it."""
    limit = AimdLimit(LimitBounds(initial=8, least=least, most=most))
    for now, (good, in_flight) in enumerate(events):
        before = limit.limit
        if good:
            limit.succeeded(in_flight)
            assert limit.limit >= before
        else:
            limit.overloaded(now, now)
            assert limit.limit <= before
        assert least <= limit.limit <= most


def test_one_overload_told_by_many_calls_counts_once():
    """Calls that began before the limit was lowered say nothing new."""
    limit = AimdLimit(LimitBounds(initial=20, backoff=0.5))
    for _ in range(10):
        limit.overloaded(began_ns=5, now_ns=10)
    assert limit.limit == 10
    limit.overloaded(began_ns=11, now_ns=12)
    assert limit.limit == 5


def waiting_queue(size=1):
    queue = CallQueue(lambda: size, SYSTEM_CLOCK)
    queue.enter("normal", 1)
    return queue


def test_important_calls_go_first_and_the_line_never_exceeds_its_limit():
    """Of those that wait, high goes before normal before low."""
    queue, order, threads = waiting_queue(), [], []

    def wait(priority):
        queue.enter(priority, 10)
        order.append(priority)
        assert queue.in_flight == 1
        queue.leave()

    for priority in ("low", "normal", "high"):
        threads.append(threading.Thread(target=wait, args=(priority,)))
        threads[-1].start()
        while queue.waiting < len(threads):
            time.sleep(0.001)
    queue.leave()
    for thread in threads:
        thread.join()
    assert order == ["high", "normal", "low"]
    assert queue.in_flight == 0


class Hours:
    """A clock that is set by hand."""

    def __init__(self):
        self.ns = 0

    def monotonic_ns(self):
        return self.ns

    def wall_ns(self):
        return self.ns


async def test_whoever_waits_long_enough_overtakes_a_higher_class():
    """No stream of important calls keeps an unimportant one waiting for ever."""
    clock, order = Hours(), []
    queue = CallQueue(lambda: 1, clock)
    await queue.enter_async("normal", 1)

    async def wait(priority):
        await queue.enter_async(priority, 60)
        order.append(priority)

    first = asyncio.ensure_future(wait("low"))
    await asyncio.sleep(0.01)
    clock.ns = 5_000_000_000
    second = asyncio.ensure_future(wait("high"))
    await asyncio.sleep(0.01)
    queue.leave()
    await first
    queue.leave()
    await second
    assert order == ["low", "high"]


async def test_cancelled_and_impatient_waiters_hold_no_turn():
    """A cancelled coroutine leaves the line; one that waited long enough goes without a turn and is counted."""
    queue = CallQueue(lambda: 1, SYSTEM_CLOCK)
    await queue.enter_async("normal", 1)
    cancelled = asyncio.ensure_future(queue.enter_async("normal", 60))
    await asyncio.sleep(0.01)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert (queue.in_flight, queue.waiting) == (1, 0)
    assert await queue.enter_async("normal", 0.01) >= 0.005
    assert queue.in_flight == 2
    queue.leave()
    queue.leave()
    assert queue.in_flight == 0


def test_the_limit_finds_what_a_provider_bears():
    """A provider that refuses beyond four at once is asked for about as many, and hardly ever more."""
    use, optimization = use_of(initial=16, max_wait_s=20), AdaptiveConcurrency()
    busy, refusals, lock = [0], [0], threading.Lock()

    def provider(_):
        with lock:
            refused = busy[0] >= 4
            busy[0] += not refused
        if refused:
            refusals[0] += 1
            raise RefusalError
        time.sleep(0.002)
        with lock:
            busy[0] -= 1
        return "reply"

    def agent():
        for _ in range(25):
            with contextlib.suppress(RefusalError):
                optimization.around(use, call(), provider)

    threads = [threading.Thread(target=agent) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    line = optimization.line(use, call())
    assert 2 <= line.limit.limit <= 8
    assert line.queue.in_flight == 0
    assert refusals[0] < 0.4 * 400


def test_a_stream_keeps_its_turn_until_it_was_read():
    """What is handed out is not over: the turn ends with the reply."""
    use, optimization = use_of(), AdaptiveConcurrency()
    streaming = call()
    streaming.is_reply = lambda result: False
    optimization.around(use, streaming, lambda _: "stream")
    assert optimization.demand() == 1
    for listener in streaming.on_end * 2:
        from otel_perfopt.signal.calls import InferenceOutcome  # noqa: PLC0415 - used here only

        listener(InferenceOutcome())
    assert optimization.demand() == 0


def test_a_commands_class_is_that_of_the_longest_pattern():
    """The most literal pattern decides."""
    parameters = AdaptiveConcurrencyParameters.read({"priorities": {"*": "low", "/task*": "high", "/t*": "normal"}})
    assert [priority_of(parameters, name) for name in ("/task", "/test", "/query")] == ["high", "normal", "low"]


def test_what_a_failure_says():
    """Statuses and names of any client's exceptions."""

    class APITimeoutError(Exception):
        pass

    refusal = RefusalError()
    refusal.response = SimpleNamespace(headers={"retry-after": "3"})
    assert is_overload(refusal)
    assert pause_s(refusal) == 3.0
    assert is_overload(APITimeoutError())
    assert is_transient(APITimeoutError())
    assert not is_overload(ValueError())
    assert not is_transient(ValueError())
    assert pause_s(ValueError()) == 0.0
