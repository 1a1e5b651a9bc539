"""What `preload` promises."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from governed import NOBODY, Agent, decision, snapshot

from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.snapshot_source import FixedSource
from otel_perfopt.signal.calls import ToolCall

PREFIX = "perfopt.policy.preload-policy."
AFTER_CUSTOMER = {
    "after": "read_customer",
    "call": "read_orders",
    "arguments": {"customer_id": {"of": "read_customer", "from": "arguments", "path": "customer_id"}},
    "precision": 0.9,
    "precision_low": 0.83,
}
LAST_ORDER = {
    "after": "read_orders",
    "call": "read_order",
    "arguments": {"order_id": {"of": "read_orders", "from": "result", "path": "orders[-1].id"}},
}
NEXT_COMMAND = {
    "after_command": "/query",
    "command": "/task",
    "call": "read_orders",
    "arguments": {"customer_id": {"of": "read_customer", "from": "arguments", "path": "customer_id"}},
}


class Shop:
    """Three reads and a write, each taking a moment; `made` says which were made, and in which thread."""

    def __init__(self, moment_s: float = 0.03) -> None:
        self.moment_s = moment_s
        self.made: list[tuple[str, Any, int]] = []
        self.orders = {"C-1": ["O-1", "O-2"], "C-2": ["O-3"]}

        def read_customer(customer_id):
            return self.say("read_customer", customer_id, {"id": customer_id, "name": "Mia"})

        def read_orders(customer_id):
            time.sleep(self.moment_s)
            rows = [{"id": order} for order in self.orders[customer_id]]
            return self.say("read_orders", customer_id, {"orders": rows})

        def read_order(order_id):
            time.sleep(self.moment_s)
            return self.say("read_order", order_id, {"id": order_id})

        def write_order(customer_id):
            self.orders[customer_id].append("O-9")
            return self.say("write_order", customer_id, "done")

        self.tools = {f.__name__: f for f in (read_customer, read_orders, read_order, write_order)}

    def say(self, tool, argument, result):
        self.made.append((tool, argument, threading.get_ident()))
        return result

    def template(self, name):
        function = self.tools.get(name)
        return None if function is None else ToolCall(name, function, (), {})

    def count(self, tool):
        return sum(made[0] == tool for made in self.made)


class CallingAgent(Agent):
    """An agent whose calls carry their arguments by name, as the instrumentation's do."""

    def call(self, function, *args, **kwargs):
        tool = ToolCall(function.__name__, function, args, kwargs, self.run, arguments=dict(kwargs))
        return self.runtime.around_tool(tool, lambda call: call.function(*call.args, **call.kwargs))

    async def call_async(self, function, *args, **kwargs):
        tool = ToolCall(function.__name__, function, args, kwargs, self.run, arguments=dict(kwargs))

        async def execute(call):
            return await call.function(*call.args, **call.kwargs)

        return await self.runtime.around_tool_async(tool, execute)

    def end(self):
        self.run.open = False
        self.runtime.run_ended(self.run)


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def new_preload(new_run):
    runtimes = []

    def make(shop, *rules, stage="canary-1", allocation=None, parameters=None):
        changes = {} if allocation is None else {"allocation": allocation}
        chosen = decision("preload", stage=stage, parameters={"rules": [*rules], **(parameters or {})}, **changes)
        spans = CallSpans(template=shop.template)
        runtimes.append(Runtime(FixedSource(snapshot(chosen)), spans=spans))
        return lambda **run: CallingAgent(runtimes[-1], new_run(**run))

    yield make
    for runtime in runtimes:
        runtime.close()


def counts(*agents):
    found: dict[str, int] = {}
    for agent in agents:
        for name, value in agent.run.span.attributes.items():
            if name.startswith(PREFIX) and isinstance(value, int):
                key = name.removeprefix(PREFIX)
                found[key] = found.get(key, 0) + value
    return found


def waited(condition, limit_s=2.0):
    until = time.monotonic() + limit_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.002)
    return condition()


def test_the_next_read_is_made_while_the_model_thinks(shop, new_preload):
    """The foreseen read runs in another thread with the arguments of the call before; the agent's own call gets its result."""
    agent = new_preload(shop, AFTER_CUSTOMER)()
    agent.call(shop.tools["read_customer"], customer_id="C-1")
    assert waited(lambda: shop.count("read_orders") == 1)
    assert agent.call(shop.tools["read_orders"], customer_id="C-1") == {"orders": [{"id": "O-1"}, {"id": "O-2"}]}
    assert [made[2] == threading.get_ident() for made in shop.made] == [True, False]
    found = counts(agent)
    assert (found["started"], found["claimed"], found["wasted"]) == (1, 1, 0)
    assert found["saved_ns"] > 0.02e9


def test_arguments_come_from_earlier_results_by_their_place(shop, new_preload):
    """An id deep in a result is the argument of the next call; calls made early are chained by the agent's own."""
    agent = new_preload(shop, AFTER_CUSTOMER, LAST_ORDER)()
    agent.call(shop.tools["read_customer"], customer_id="C-1")
    agent.call(shop.tools["read_orders"], customer_id="C-1")
    assert waited(lambda: shop.count("read_order") == 1)
    assert agent.call(shop.tools["read_order"], order_id="O-2") == {"id": "O-2"}
    assert shop.count("read_order") == 1
    assert counts(agent)["claimed"] == 2


def test_other_arguments_are_another_call(shop, new_preload):
    """The early result of one customer is never another's; what nobody came for is counted as wasted."""
    agent = new_preload(shop, AFTER_CUSTOMER)()
    agent.call(shop.tools["read_customer"], customer_id="C-1")
    assert agent.call(shop.tools["read_orders"], customer_id="C-2") == {"orders": [{"id": "O-3"}]}
    found = counts(agent)
    assert (found["started"], found["wasted"], found.get("claimed", 0)) == (1, 1, 0)


def test_a_write_in_between_discards_it(shop, new_preload):
    """What was read before a write is not handed over after it."""
    agent = new_preload(shop, AFTER_CUSTOMER)()
    agent.call(shop.tools["read_customer"], customer_id="C-1")
    assert waited(lambda: shop.count("read_orders") == 1)
    agent.call(shop.tools["write_order"], customer_id="C-1")
    assert {"id": "O-9"} in agent.call(shop.tools["read_orders"], customer_id="C-1")["orders"]
    assert counts(agent)["discarded"] == 1


def test_writes_and_unknown_tools_are_never_made_early(shop, new_preload):
    """A rule that names a tool which is not declared read-only does nothing."""
    rule = {**AFTER_CUSTOMER, "call": "write_order"}
    agent = new_preload(shop, rule)()
    agent.call(shop.tools["read_customer"], customer_id="C-1")
    time.sleep(0.05)
    assert shop.count("write_order") == 0
    assert "started" not in counts(agent)


def test_a_result_that_is_too_old_is_read_again(shop, new_preload):
    """Past the time to live the agent's own call is made."""
    agent = new_preload(shop, AFTER_CUSTOMER, parameters={"ttl": "20ms"})()
    agent.call(shop.tools["read_customer"], customer_id="C-1")
    assert waited(lambda: shop.count("read_orders") == 1)
    time.sleep(0.03)
    agent.call(shop.tools["read_orders"], customer_id="C-1")
    assert shop.count("read_orders") == 2


def test_the_next_command_finds_its_first_reads_made(shop, new_preload):
    """When /query ends, what /task of the same conversation will read is read; another conversation gets nothing of it."""
    new_agent = new_preload(shop, NEXT_COMMAND)
    query = new_agent(command="/query", conversation="c1")
    query.call(shop.tools["read_customer"], customer_id="C-1")
    query.end()
    assert waited(lambda: shop.count("read_orders") == 1)
    other = new_agent(command="/task", conversation="c2")
    other.call(shop.tools["read_orders"], customer_id="C-1")
    assert shop.count("read_orders") == 2
    task = new_agent(command="/task", conversation="c1")
    task.call(shop.tools["read_orders"], customer_id="C-1")
    assert shop.count("read_orders") == 2
    found = counts(query, other, task)
    assert (found["started"], found["claimed"], found["wasted"]) == (1, 1, 0)
    assert f"{PREFIX}arm" not in query.run.span.attributes
    assert task.run.span.attributes[f"{PREFIX}arm"] == "treatment"


def test_another_user_of_the_conversation_gets_nothing(shop, new_preload):
    """What was read for one user is not given to another, whatever the conversation's id."""
    new_agent = new_preload(shop, NEXT_COMMAND)
    query = new_agent(command="/query", user="ann")
    query.call(shop.tools["read_customer"], customer_id="C-1")
    query.end()
    assert waited(lambda: shop.count("read_orders") == 1)
    task = new_agent(command="/task", user="bob")
    task.call(shop.tools["read_orders"], customer_id="C-1")
    assert shop.count("read_orders") == 2


def test_a_table_of_next_commands_holds_rules_back(shop, new_preload):
    """Where the table of next commands says that another one follows, nothing is read for /task."""
    table = {"version": 1, "contexts": {"/query": {"/query": 0.9}}}
    query = new_preload(shop, NEXT_COMMAND, parameters={"next_commands": table})(command="/query")
    query.call(shop.tools["read_customer"], customer_id="C-1")
    query.end()
    time.sleep(0.05)
    assert shop.count("read_orders") == 0


def test_shadow_counts_and_calls_nothing(shop, new_preload):
    """In shadow what would have been made, claimed and saved is counted, and every call is the agent's."""
    agent = new_preload(shop, AFTER_CUSTOMER, stage="shadow")()
    agent.call(shop.tools["read_customer"], customer_id="C-1")
    time.sleep(0.04)
    assert shop.count("read_orders") == 0
    agent.call(shop.tools["read_orders"], customer_id="C-1")
    assert {made[2] for made in shop.made} == {threading.get_ident()}
    found = counts(agent)
    assert (found["started"], found["claimed"], found["wasted"]) == (1, 1, 0)
    assert found["saved_ns"] > 0.02e9


def test_the_baseline_is_enrolled_and_left_alone(shop, new_preload):
    """Runs of the baseline are compared, so they say their arm, and nothing is made early in them."""
    agent = new_preload(shop, AFTER_CUSTOMER, allocation=NOBODY)()
    agent.call(shop.tools["read_customer"], customer_id="C-1")
    time.sleep(0.04)
    assert shop.count("read_orders") == 0
    assert agent.run.span.attributes[f"{PREFIX}arm"] == "baseline"


def test_a_rule_below_the_floor_is_not_used(shop, new_preload):
    """A mined precision below the floor starts nothing."""
    agent = new_preload(shop, {**AFTER_CUSTOMER, "precision": 0.5})()
    agent.call(shop.tools["read_customer"], customer_id="C-1")
    time.sleep(0.04)
    assert shop.count("read_orders") == 0


def test_a_rule_that_is_no_longer_right_stops_and_comes_back(new_preload):
    """After ten wrong guesses it only watches; when its guesses come true again, it calls again."""
    shop = Shop(0.0)
    new_agent = new_preload(shop, AFTER_CUSTOMER, parameters={"budget": 1.0})
    agents = []

    def commands(how_many, asked):
        for _ in range(how_many):
            agents.append(new_agent(conversation=f"c{len(agents)}"))
            agents[-1].call(shop.tools["read_customer"], customer_id="C-1")
            agents[-1].call(shop.tools["read_orders"], customer_id=asked)
            # Its conversation is over for the policy as well: what nobody came for has been for nothing.
            desk = agents[-1].runtime._preload._desk
            desk.give_up(desk.shelf(agents[-1].run, time.monotonic_ns()).clear())
        return [counts(agent).get("started", 0) for agent in agents[-how_many:]]

    assert sum(commands(14, "C-2")) == 10
    assert sum(commands(8, "C-1")) == 0
    commands(12, "C-1")
    assert sum(commands(10, "C-1")) >= 5


def test_the_budget_bounds_what_is_wasted(new_preload):
    """With a budget of 10 % wasted calls stay near a tenth of the agent's own, beyond the few it begins with."""
    shop = Shop(0.0)
    parameters = {"budget": 0.1, "max_in_flight": 2, "min_precision": 0.0}
    new_agent = new_preload(shop, AFTER_CUSTOMER, parameters=parameters)
    agents = [new_agent(conversation=f"c{number}") for number in range(30)]
    for agent in agents:
        agent.call(shop.tools["read_customer"], customer_id="C-1")
        agent.call(shop.tools["read_orders"], customer_id="C-2")
        desk = agent.runtime._preload._desk
        desk.give_up(desk.shelf(agent.run, time.monotonic_ns()).clear())
    assert counts(*agents)["started"] <= 4 + 0.1 * 30 + 1


def test_as_many_at_once_as_allowed(new_preload):
    """Of three foreseen reads two run at once, and the third when one of them has ended."""
    shop = Shop(0.05)
    rules = [
        {**AFTER_CUSTOMER},
        {**AFTER_CUSTOMER, "call": "read_order", "arguments": {"order_id": AFTER_CUSTOMER["arguments"]["customer_id"]}},
        {**LAST_ORDER, "after": "read_customer", "arguments": {"order_id": {"of": "read_customer", "path": "name"}}},
    ]
    agent = new_preload(shop, *rules, parameters={"max_in_flight": 2, "budget": 1.0})()
    running, most = [0], [0]
    for name in ("read_orders", "read_order"):
        inner = shop.tools[name]

        def counted(inner=inner, **arguments):
            running[0] += 1
            most[0] = max(most[0], running[0])
            try:
                return inner(**arguments)
            finally:
                running[0] -= 1

        counted.__name__ = name
        shop.tools[name] = counted
    agent.call(shop.tools["read_customer"], customer_id="C-1")
    assert waited(lambda: len(shop.made) == 4)
    assert most[0] == 2


def test_a_read_that_fails_early_is_made_by_the_agent(new_preload):
    """An early call's exception never reaches the agent, whose own call gives what it gives."""
    shop = Shop(0.0)
    main, failed = threading.get_ident(), []
    inner = shop.tools["read_orders"]

    def read_orders(customer_id):
        if threading.get_ident() != main:
            failed.append(customer_id)
            raise RuntimeError(customer_id)
        return inner(customer_id)

    shop.tools["read_orders"] = read_orders
    agent = new_preload(shop, AFTER_CUSTOMER)()
    agent.call(shop.tools["read_customer"], customer_id="C-1")
    assert waited(lambda: failed == ["C-1"])
    assert agent.call(read_orders, customer_id="C-1")["orders"]
    assert counts(agent)["discarded"] == 1


def test_asynchronous_tools_are_read_ahead_as_tasks(new_preload):
    """The same for coroutines of one event loop, across commands too."""
    made = []

    async def read_customer(customer_id):
        return {"id": customer_id}

    async def read_orders(customer_id):
        made.append(customer_id)
        await asyncio.sleep(0.02)
        return [customer_id]

    shop = Shop()
    shop.tools.update(read_customer=read_customer, read_orders=read_orders)
    new_agent = new_preload(shop, AFTER_CUSTOMER, NEXT_COMMAND)

    async def go():
        query = new_agent(command="/query")
        await query.call_async(read_customer, customer_id="C-1")
        await asyncio.sleep(0.03)
        assert made == ["C-1"]
        assert await query.call_async(read_orders, customer_id="C-1") == ["C-1"]
        query.end()
        await asyncio.sleep(0.03)
        task = new_agent(command="/task")
        assert await task.call_async(read_orders, customer_id="C-1") == ["C-1"]
        return query, task

    query, task = asyncio.run(go())
    assert made == ["C-1", "C-1"]
    assert counts(query, task)["claimed"] == 2


def test_a_fault_of_ours_leaves_the_plain_call(shop, new_preload, monkeypatch):
    """Whatever breaks inside, the agent's calls are made, and the fault is counted."""
    agent = new_preload(shop, AFTER_CUSTOMER)()
    monkeypatch.setattr(agent.runtime._preload.foresight, "_foresee", lambda *_: 1 / 0)
    monkeypatch.setattr(agent.runtime._preload, "_claim", lambda *_: 1 / 0)
    agent.call(shop.tools["read_customer"], customer_id="C-1")
    assert agent.call(shop.tools["read_orders"], customer_id="C-1")["orders"]
    assert agent.runtime.faults.breakers["preload"].faults == 2


def test_a_child_process_begins_with_nothing(shop, new_preload):
    """After a fork nothing of the parent's early calls is claimed."""
    agent = new_preload(shop, AFTER_CUSTOMER)()
    agent.call(shop.tools["read_customer"], customer_id="C-1")
    assert waited(lambda: shop.count("read_orders") == 1)
    agent.runtime.after_fork()
    agent.call(shop.tools["read_orders"], customer_id="C-1")
    assert shop.count("read_orders") == 2
