"""What `batch_tools` promises."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from governed import Agent, decision, snapshot

from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.snapshot_source import FixedSource
from otel_perfopt.signal.calls import ToolCall, ToolRequest
from otel_perfopt.signal.emit.spans import tool
from otel_perfopt.signal.emit.tools import batch_form

PREFIX = "perfopt.policy.batch-tools-policy."


class Rates:
    """A tool with a form for many; `singles` and `batches` are what was called."""

    def __init__(self, result=None):
        self.singles, self.batches = [], []
        self.result = result or (lambda asked: [f"rate of {one['currency']}" for one in asked])

        def read_rate(currency):
            self.singles.append(currency)
            return f"rate of {currency}"

        def read_rates(asked):
            self.batches.append([one["currency"] for one in asked])
            return self.result(asked)

        async def read_rate_later(currency):
            return read_rate(currency)

        async def read_rates_later(asked):
            await asyncio.sleep(0)
            return read_rates(asked)

        self.one, self.many, self.one_later, self.many_later = (
            read_rate,
            read_rates,
            read_rate_later,
            read_rates_later,
        )
        self.forms = {"read_rate": read_rates, "read_rate_later": read_rates_later}


@pytest.fixture
def new_agent_for(new_run):
    runtimes = []

    def make(rates, *more, stage="canary-1", **parameters):
        # A window far longer than any machine's stall: what ends it is that the batch is full.
        chosen = decision("batch_tools", stage=stage, parameters={"window": "5s", "max_wait_s": "30s", **parameters})
        spans = CallSpans(batch_form=rates.forms.get)
        runtimes.append(Runtime(FixedSource(snapshot(chosen, *more)), spans=spans))
        return Agent(runtimes[-1], new_run())

    yield make
    for runtime in runtimes:
        runtime.close()


def make_call(agent, function, currency):
    call = ToolCall(function.__name__, function, (currency,), {}, agent.run, arguments={"currency": currency})
    return agent.runtime.around_tool(call, lambda call: call.function(*call.args, **call.kwargs))


async def make_call_async(agent, function, currency):
    call = ToolCall(function.__name__, function, (currency,), {}, agent.run, arguments={"currency": currency})

    async def execute(call):
        return await call.function(*call.args, **call.kwargs)

    return await agent.runtime.around_tool_async(call, execute)


def at_once(agent, function, currencies):
    def outcome(currency):
        try:
            return make_call(agent, function, currency)
        except ValueError as error:
            return repr(error)

    with ThreadPoolExecutor(len(currencies)) as pool:
        return list(pool.map(outcome, currencies))


def counts(agent):
    return {n.removeprefix(PREFIX): v for n, v in agent.run.span.attributes.items() if n.startswith(PREFIX)}


def test_calls_at_once_go_as_one(new_agent_for):
    """Five threads' calls are one call of the form for many; each gets its own result."""
    rates = Rates()
    agent = new_agent_for(rates, max_size=5)
    assert at_once(agent, rates.one, "abcde") == [f"rate of {currency}" for currency in "abcde"]
    assert [sorted(batch) for batch in rates.batches] == [list("abcde")]
    assert rates.singles == []
    assert (counts(agent)["started"], counts(agent)["claimed"]) == (1, 5)


def test_no_more_go_together_than_may(new_agent_for):
    """A full batch does not wait for its window's end, and the next call opens another."""
    rates = Rates()
    agent = new_agent_for(rates, max_size=2)
    began = time.monotonic()
    assert len(at_once(agent, rates.one, "abcd")) == 4
    assert time.monotonic() - began < 4
    assert sorted(len(batch) for batch in rates.batches) == [2, 2]


def test_a_call_that_fails_fails_alone(new_agent_for):
    """An exception among the results is raised to its own caller only."""
    rates = Rates(lambda asked: [ValueError("b") if one["currency"] == "b" else one["currency"] for one in asked])
    agent = new_agent_for(rates, max_size=3)
    assert at_once(agent, rates.one, "abc") == ["a", "ValueError('b')", "c"]


@pytest.mark.parametrize("wrong", [lambda asked: asked[:-1], lambda asked: None, lambda asked: 1 / 0])
def test_a_batch_that_fails_is_made_call_by_call(new_agent_for, wrong):
    """Too few results, none, or an exception of the form: every call is made by itself."""
    rates = Rates(wrong)
    agent = new_agent_for(rates, max_size=3)
    assert at_once(agent, rates.one, "abc") == [f"rate of {currency}" for currency in "abc"]
    assert sorted(rates.singles) == list("abc")
    assert counts(agent)["discarded"] == 3


def test_a_lone_agent_soon_stops_waiting(new_agent_for):
    """After eight windows in which nobody came, calls go at once but for one in sixteen that looks again."""
    rates = Rates()
    agent = new_agent_for(rates, window="100ms")
    for _ in range(8):
        make_call(agent, rates.one, "a")
    began = time.monotonic()
    for _ in range(15):
        make_call(agent, rates.one, "a")
    assert time.monotonic() - began < 15 * 0.1
    assert rates.batches == []


def test_coroutines_at_once_go_as_one(new_agent_for):
    """The same for tasks of one loop."""
    rates = Rates()
    agent = new_agent_for(rates, max_size=3)

    async def go():
        return await asyncio.gather(*[make_call_async(agent, rates.one_later, currency) for currency in "abc"])

    assert asyncio.run(go()) == [f"rate of {currency}" for currency in "abc"]
    assert rates.batches == [list("abc")]
    assert rates.singles == []


def test_a_cancelled_leader_leaves_nobody_waiting(new_agent_for):
    """Whoever opened the batch and is cancelled sends the others on by themselves."""
    rates = Rates()
    agent = new_agent_for(rates, window="200ms")

    async def go():
        first = asyncio.ensure_future(make_call_async(agent, rates.one_later, "a"))
        await asyncio.sleep(0.01)
        second = asyncio.ensure_future(make_call_async(agent, rates.one_later, "b"))
        await asyncio.sleep(0.01)
        first.cancel()
        return await asyncio.gather(first, second, return_exceptions=True)

    cancelled, second = asyncio.run(go())
    assert isinstance(cancelled, asyncio.CancelledError)
    assert second == "rate of b"


def test_calls_of_two_conversations_stay_apart(new_run, new_agent_for):
    """Calls go together only within their scope."""
    rates = Rates()
    first = new_agent_for(rates, window="200ms")
    second = Agent(first.runtime, new_run(conversation="c2"))
    agents = {"a": first, "b": second}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda currency: make_call(agents[currency], rates.one, currency), "ab"))
    assert rates.batches == []


def test_calls_started_early_go_together(new_agent_for):
    """Where `parallel_tools` starts three calls of one tool at once, they are one."""
    rates = Rates()
    agent = new_agent_for(rates, decision("parallel_tools"), max_size=3)
    requests = [ToolRequest(f"r{name}", "read_rate", {"currency": name}) for name in "abc"]
    agent.runtime.on_reply(agent.run, requests, {"read_rate": ToolCall("read_rate", rates.one, (), {}, agent.run)})
    assert [make_call(agent, rates.one, currency) for currency in "abc"] == [f"rate of {name}" for name in "abc"]
    assert [sorted(batch) for batch in rates.batches] == [list("abc")]
    assert rates.singles == []


def test_shadow_counts_company_and_makes_every_call(new_agent_for):
    """In shadow nobody waits, and calls that came within a window of another are counted."""
    rates = Rates()
    agent = new_agent_for(rates, stage="shadow")
    began = time.monotonic()
    assert [make_call(agent, rates.one, currency) for currency in "abc"] == [f"rate of {name}" for name in "abc"]
    assert time.monotonic() - began < 4
    assert (rates.batches, counts(agent)["claimed"]) == ([], 2)


def test_a_method_gets_its_object(new_agent_for):
    """The form of a method is given the object its calls were made on, and other objects' calls stay apart."""
    seen = []

    class Desk:
        def read_rate(self, currency):
            return "single"

    def read_many(desk, asked):
        seen.append((desk, len(asked)))
        return [one["currency"] for one in asked]

    rates = Rates()
    rates.forms["read_rate"] = read_many
    agent, desk = new_agent_for(rates, max_size=2), Desk()

    def go(currency):
        call = ToolCall("read_rate", Desk.read_rate, (desk, currency), {}, agent.run, arguments={"currency": currency})
        return agent.runtime.around_tool(call, lambda call: call.function(*call.args, **call.kwargs))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(go, "ab")) == ["a", "b"]
    assert seen == [(desk, 2)]


many_names: list[int] = []


def find_many(asked):
    many_names.append(len(asked))
    return [one["name"] for one in asked]


def test_a_policy_can_name_the_form_and_a_decorator_can_declare_it(new_agent_for):
    """`module:function` is looked up among loaded modules and never imported; `tool(batch=…)` says it in code."""
    rates = Rates()
    rates.forms.clear()
    agent = new_agent_for(
        rates, max_size=2, batch={"read_rate": f"{__name__}:find_many", "read_rate_later": "no.such:thing"}
    )

    def read_rate(name):
        return "single"

    def go(name):
        call = ToolCall("read_rate", read_rate, (name,), {}, agent.run, arguments={"name": name})
        return agent.runtime.around_tool(call, lambda call: call.function(*call.args, **call.kwargs))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(go, ["x", "y"])) == ["x", "y"]
    assert many_names == [2]

    @tool("declared_by_decorator", effects="read", batch=find_many)
    def declared(name):
        return name

    assert batch_form("declared_by_decorator") is find_many
    assert threading.active_count() < 50
