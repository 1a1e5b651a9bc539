"""What standing between an agent and its tools costs: nothing in, microseconds a call with their spread out.

    python benchmarks/intercept_cost.py [--rounds 40] [--calls 2000]

Every variant runs in every round, in changing order, so that differences are paired: the machine's
mood is the same for both. Printed are medians over rounds, and of the paired difference to the
first line of a group the median and the 5th to 95th percentile. The plain wrapper is what the
instrumentation costs without an interceptor, spans left out: a `ToolCall` made and executed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

from otel_perfopt.act.asker import asker_of
from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.selection import Plan
from otel_perfopt.act.snapshot_source import FixedSource
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Match, Snapshot
from otel_perfopt.decide.personalization import Personalization
from otel_perfopt.signal.calls import RunContext, ToolCall
from otel_perfopt.signal.user_digest import user_digest

ARGUMENTS = {"query": "where is my order", "limit": 5}
RESULT = {"results": [{"title": f"page {i}", "snippet": "x" * 80} for i in range(3)]}
TEXT = "x" * 400


def read_docs(query: str, limit: int = 3) -> Any:  # noqa: ARG001 - a tool that costs nothing
    return RESULT


def read_text(query: str, limit: int = 3) -> str:  # noqa: ARG001 - a tool that costs nothing
    return TEXT


def other(query: str, limit: int = 3) -> Any:  # noqa: ARG001 - a tool that costs nothing
    return RESULT


async def read_docs_async(query: str, limit: int = 3) -> Any:  # noqa: ARG001 - a tool that costs nothing
    return RESULT


def execute(call: ToolCall) -> Any:
    return call.function(*call.args, **call.kwargs)


async def execute_async(call: ToolCall) -> Any:
    return await call.function(*call.args, **call.kwargs)


def runtime_with(*decisions: Decision) -> Runtime:
    if not decisions:
        return Runtime(FixedSource(), spans=CallSpans())
    snapshot = Snapshot(1, time.time_ns(), 86400.0, decisions=decisions)
    return Runtime(FixedSource(snapshot), spans=CallSpans())


def cache_decision(**changes: Any) -> Decision:
    values: dict[str, Any] = {
        "policy": "cache",
        "digest": "d",
        "optimization": "tool_cache",
        "stage": "active",
        "allocation": Allocation(1.0, 0.0),
        "parameters": {"ttl": "1d"},
        "effects": {"read_*": "read"},
        "match": Match(tool=("read_*",)),
    }
    return Decision(**{**values, **changes})


def new_run() -> RunContext:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("bench").start_span("/query")
    return RunContext("/query", "conversation", "", span)


def call_of(function: Callable[..., Any], run: RunContext) -> ToolCall:
    return ToolCall(function.__name__, function, (), dict(ARGUMENTS), run)


def sync_variants() -> dict[str, Callable[[int], None]]:
    run = new_run()
    idle, cached = runtime_with(), runtime_with(cache_decision())
    baseline = runtime_with(cache_decision(policy="held", allocation=Allocation(0.0, 1.0)))

    def plain(count: int) -> None:
        for _ in range(count):
            execute(call_of(read_docs, run))

    def through(runtime: Runtime, function: Callable[..., Any], in_run: RunContext) -> Callable[[int], None]:
        def loop(count: int) -> None:
            for _ in range(count):
                runtime.around_tool(call_of(function, in_run), execute)

        return loop

    return {
        "plain wrapper": plain,
        "no policy on": through(idle, read_docs, run),
        "policy on, tool of unknown effects": through(cached, other, run),
        "policy on, run in baseline": through(baseline, read_docs, new_run()),
        "cache hit, text of 400 characters": through(cached, read_text, new_run()),
        "cache hit, JSON of 3 objects (copied)": through(cached, read_docs, new_run()),
    }


def async_variants() -> dict[str, Callable[[int], None]]:
    run = new_run()
    idle, cached = runtime_with(), runtime_with(cache_decision())

    async def plain(count: int) -> None:
        for _ in range(count):
            await execute_async(call_of(read_docs_async, run))

    def through(runtime: Runtime, in_run: RunContext) -> Callable[[int], Any]:
        async def loop(count: int) -> None:
            for _ in range(count):
                await runtime.around_tool_async(call_of(read_docs_async, in_run), execute_async)

        return loop

    loops = {"plain wrapper (async)": plain, "no policy on (async)": through(idle, run)}
    loops["cache hit, JSON of 3 objects (async)"] = through(cached, new_run())
    return {name: lambda count, loop=loop: asyncio.run(loop(count)) for name, loop in loops.items()}


def lookup_variants() -> dict[str, Callable[[int], None]]:
    decisions = tuple(cache_decision(policy=f"p{i}", match=Match(tool=(f"tool_{i}_*",))) for i in range(50))
    plan = Plan.of(Snapshot(1, time.time_ns(), 60.0, decisions=decisions))

    def empty(count: int) -> None:
        for _ in range(count):
            pass

    def lookup(count: int) -> None:
        select = plan.select
        for _ in range(count):
            select("/query", "tool_49_x", "read")

    return {"empty loop": empty, "decision lookup, 50 decisions": lookup}


def people_variants() -> dict[str, Callable[[int], None]]:
    salt = "ab" * 16
    users = {user_digest(f"user-{number}", salt): "speed" for number in range(5000)}
    table = Personalization(salt, users)
    routing = Decision("r", "d", "effort_routing", "active", Allocation(1.0), match=Match(command=("/query",)))
    personal = replace(routing, match=Match(command=("/query",), preference=("speed",)))
    plain, asking = (
        Plan.of(Snapshot(1, time.time_ns(), 60.0, decisions=(one,), personalization=table))
        for one in (routing, personal)
    )
    run = new_run()
    run.user_id = "user-7"

    def lookup(plan: Plan) -> Callable[[int], None]:
        def loop(count: int) -> None:
            for _ in range(count):
                plan.select_inference("/query", "gpt-5", asker_of(run, plan))

        return loop

    def first_calls(count: int) -> None:
        for _ in range(count):
            run.slots.clear()
            run.preference_source = ""
            asking.select_inference("/query", "gpt-5", asker_of(run, asking))

    return {
        "lookup for a model call, nobody asked for": lookup(plain),
        "the same, by preference": lookup(asking),
        "the same, first call of a command": first_calls,
    }


def measure(variants: dict[str, Callable[[int], None]], rounds: int, calls: int) -> dict[str, list[float]]:
    """Return microseconds a call of each variant, one value a round."""
    order, seconds = list(variants), {name: [] for name in variants}
    chance = random.Random(1)
    for loop in variants.values():
        loop(calls)
    for _ in range(rounds):
        chance.shuffle(order)
        for name in order:
            began = time.perf_counter_ns()
            variants[name](calls)
            seconds[name].append((time.perf_counter_ns() - began) / calls / 1000)
    return seconds


def report(taken: dict[str, list[float]]) -> None:
    first, *others = taken
    print(f"{first:<42} {statistics.median(taken[first]):8.2f} µs")
    for name in others:
        differences = sorted(mine - base for mine, base in zip(taken[name], taken[first], strict=True))
        low, high = (differences[int(q * (len(differences) - 1))] for q in (0.05, 0.95))
        middle = statistics.median(differences)
        print(f"{name:<42} {statistics.median(taken[name]):8.2f} µs   +{middle:.2f} [{low:.2f}, {high:.2f}]")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=2000)
    options = parser.parse_args()
    for variants in (sync_variants(), async_variants(), lookup_variants(), people_variants()):
        report(measure(variants, options.rounds, options.calls))


if __name__ == "__main__":
    main()
