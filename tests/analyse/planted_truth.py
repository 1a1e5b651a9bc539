"""Generators of runs in which something is planted: a seed in, the runs and what an analysis must say of them out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from planted import MONDAY_NS, SECOND, RunWriter, clean_runs

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import Execution, Outcome


@dataclass(frozen=True)
class Planted:
    """Runs, and the truth: the kinds of finding that must be made, each with its target's fields."""

    name: str
    runs: list[Execution]
    truth: tuple[tuple[str, dict[str, str]], ...]
    # Kinds that follow from what was planted, and so are neither wanted nor wrong.
    consequences: frozenset[str] = frozenset()

    @property
    def follows(self) -> frozenset[str]:
        """Every kind that is true here without being looked for: steps in a fixed order do follow one another."""
        return self.consequences | {"tool_sequence", "command_sequence"}


def chained(writer, name, seconds, **fields):
    """A call that uses what the one before it gave."""
    before = writer.steps and next((step for step in reversed(writer.steps) if step.outputs), None)
    return writer.tool(name, seconds, needs=tuple(before.outputs) if before else (), **fields)


def written(write, rng, count, *, gap_s=3600.0, conversations=0, command="/task", start_ns=MONDAY_NS):
    """`count` runs, each written by `write(writer, rng, place)`, on average `gap_s` apart."""
    runs, now_ns = [], start_ns
    for place in range(count):
        conversation = f"conversation-{place % conversations}" if conversations else ""
        writer = RunWriter(command, conversation, int(now_ns))
        write(writer, rng, place)
        runs.append(writer.done())
        now_ns += rng.exponential(gap_s) * SECOND
    return runs


def bottleneck(rng):
    """One tool takes most of the time."""

    def write(writer, rng, _):
        writer.infer(2.0 * rng.lognormal(0, 0.1))
        chained(writer, "slow_tool", 6.0 * rng.lognormal(0, 0.2))
        writer.infer(1.0)
        chained(writer, "fast_tool", 1.0)

    return Planted("bottleneck", written(write, rng, 30), (("hotspot", {"tool": "slow_tool"}),))


def repeat(rng):
    """A read is made twice with the same arguments."""

    def write(writer, rng, _):
        for _again in range(2):
            writer.infer(rng.lognormal(0, 0.2))
            writer.tool("search", rng.lognormal(0, 0.2), arguments="same", gives=("v",))

    truth = (("repeated_call", {"tool": "search"}), ("opportunity", {"tool": "search"}))
    return Planted("repeat", written(write, rng, 30), truth, frozenset({"hotspot", "upper_bound", "independent_reads"}))


def dependency(rng):
    """Three reads of one reply in turn that use nothing of one another."""

    def write(writer, rng, _):
        writer.infer(rng.lognormal(0, 0.2))
        for number in range(3):
            writer.tool(f"read_{number}", rng.lognormal(0, 0.2), call_id=f"call-{number}")

    truth = (("serial_independent", {"command": "/task"}), ("opportunity", {"command": "/task"}))
    return Planted("dependency", written(write, rng, 30), truth, frozenset({"hotspot"}))


def n_plus_one(rng):
    """One tool is called eight times in a row."""

    def write(writer, rng, _):
        for _item in range(8):
            writer.infer(0.4 * rng.lognormal(0, 0.2))
            chained(writer, "get_item", 0.3 * rng.lognormal(0, 0.2))

    return Planted(
        "n_plus_one",
        written(write, rng, 30),
        (("n_plus_one", {"tool": "get_item"}),),
        frozenset({"hotspot", "independent_reads", "upper_bound", "tool_sequence"}),
    )


def retry_storm(rng):
    """In one run of three a read fails four times before it succeeds."""

    def write(writer, rng, place):
        writer.infer(rng.lognormal(0, 0.2))
        for _attempt in range(4 if place % 3 == 0 else 0):
            writer.tool("flaky", 0.5, arguments=f"a{place}", error_type="timeout")
        writer.tool("flaky", 0.5, arguments=f"a{place}")
        writer.infer(rng.lognormal(0, 0.2))

    truth = (("retry_storm", {"tool": "flaky"}), ("errors", {"tool": "flaky"}))
    return Planted("retry_storm", written(write, rng, 60), truth, frozenset({"hotspot", "slow_cluster"}))


def rate_limit(rng):
    """One model call in ten is refused, and tried again after two seconds."""

    def write(writer, rng, place):
        for turn in range(4):
            if (4 * place + turn) % 10 == 0:
                writer.infer(0.1, error_type="RateLimitError")
                writer.now_ns += 2 * SECOND
            writer.infer(rng.lognormal(0, 0.2))
            chained(writer, "look_up", 0.3 * rng.lognormal(0, 0.2))

    truth = (("rate_limit", {"model": "m-large"}),)
    return Planted(
        "rate_limit",
        written(write, rng, 60),
        truth,
        frozenset({"errors", "hotspot", "opportunity", "independent_reads"}),
    )


def burst_times(rng, count, mean_gap_s):
    """Start times of a load that comes in bursts."""
    now_s, times = 0.0, []
    while len(times) < count:
        rate = rng.choice((0.2, 1.0, 4.0))
        for _ in range(20):
            now_s += rng.exponential(mean_gap_s / rate)
            times.append(now_s)
    return times[:count]


def saturation(rng, *, slowed=0.35):
    """A model that takes 35 % longer each time twice as many calls are in flight (0: none)."""
    ends, runs = [], []
    for start_s in burst_times(rng, 900, 0.5):
        in_flight = sum(end > start_s for end in ends)
        took = rng.lognormal(0, 0.25) * (1 + slowed) ** np.log2(1 + in_flight)
        ends = [end for end in ends if end > start_s] + [start_s + took]
        writer = RunWriter("/task", start_ns=MONDAY_NS + int(start_s * SECOND))
        writer.infer(took)
        runs.append(writer.done())
    truth = (("saturation", {"model": "m-large"}),) if slowed else ()
    return Planted("saturation" if slowed else "busy but steady", runs, truth)


def queueing(rng, *, workers=3):
    """Calls of a tool wait for one of three workers (0: there are always enough)."""
    free = [0.0] * (workers or 1)
    runs = []
    for start_s in burst_times(rng, 900, 0.6):
        writer = RunWriter("/task", start_ns=MONDAY_NS + int(start_s * SECOND))
        writer.infer(0.5 * rng.lognormal(0, 0.2))
        asked = (writer.now_ns - MONDAY_NS) / SECOND
        took = 1.2 * rng.lognormal(0, 0.2)
        begun = max(asked, min(free)) if workers else asked + 0.1
        free[free.index(min(free))] = begun + took
        writer.tool("render", took, after_ns=MONDAY_NS + int(begun * SECOND))
        runs.append(writer.done())
    truth = (("queueing", {"tool": "render"}),) if workers else ()
    return Planted("queueing" if workers else "own work, no queue", runs, truth, frozenset({"hotspot", "slow_cluster"}))


def memory_growth(rng, *, leak=2.0):
    """A process that keeps 2 MiB of each run (0: it only fills its caches)."""
    runs = []
    for place in range(400):
        level = 200.0 + 40 * (1 - np.exp(-place / 30)) + leak * place + rng.normal(0, 8)
        writer = RunWriter("/task", start_ns=MONDAY_NS + place * 60 * SECOND)
        writer.infer(rng.lognormal(0, 0.2))
        run = writer.done()
        attributes = {c.COMMAND_MEMORY: int(level * (1 << 20))}
        runs.append(_with_command(run, attributes=attributes))
    truth = (("memory_growth", {"service": "planted"}),) if leak else ()
    return Planted("memory_growth" if leak else "caches that fill", runs, truth)


def _with_command(run, **fields):
    from dataclasses import replace  # noqa: PLC0415 - only here

    return replace(run, command=replace(run.command, **fields))


def efficiency_pattern(rng, *, faster=0.35):
    """Runs that search before they read are 35 % shorter (0: as long)."""

    def write(writer, rng, place):
        good = rng.random() < 0.5
        scale = (1 - faster if good else 1.0) * rng.lognormal(0, 0.25)
        for name in ("search", "read") if good else ("read", "search"):
            writer.infer(scale)
            chained(writer, name, 0.5 * scale)
        writer.infer(scale)

    truth = (("efficiency_pattern", {"command": "/task"}),) if faster else ()
    return Planted(
        "efficiency_pattern" if faster else "two orders, alike", written(write, rng, 120), truth, frozenset({"hotspot"})
    )


def allocation(rng, *, cheaper=True):
    """A model at a fifth of the price that fails no more often (or else: much more often)."""
    runs = []
    for place in range(400):
        small = rng.random() < 0.5
        writer = RunWriter("/task", start_ns=MONDAY_NS + place * 480 * SECOND, model="m-small" if small else "m-large")
        cost = (0.01 if small else 0.05) * rng.lognormal(0, 0.3)
        writer.infer(rng.lognormal(0, 0.2), cost_usd=cost)
        if rng.random() < (0.02 if cheaper or not small else 0.3):
            writer.outcome = Outcome.FAILED
        runs.append(writer.done())
    truth = (("allocation", {"command": "/task"}),) if cheaper else ()
    name = "allocation" if cheaper else "cheaper and worse"
    return Planted(name, runs, truth, frozenset({"hotspot", "slow_cluster"}))


def slow_cluster(rng, *, slower=5.0):
    """Runs in one region take five times as long (1: no longer)."""
    runs = []
    for place in range(240):
        region = "eu" if rng.random() < 0.12 else "us"
        scale = (slower if region == "eu" else 1.0) * rng.lognormal(0, 0.25)
        writer = RunWriter("/task", start_ns=MONDAY_NS + place * 480 * SECOND)
        writer.infer(scale)
        chained(writer, "look_up", 0.5 * scale)
        runs.append(_with_command(writer.done(), attributes={"region": region}))
    truth = (("slow_cluster", {"command": "/task"}),) if slower > 1 else ()
    return Planted("slow_cluster" if slower > 1 else "two regions, alike", runs, truth, frozenset({"hotspot"}))


def workflow(rng, *, follows=0.9):
    """Conversations go /find, /open, /edit nine times in ten (or in any order)."""
    runs = []
    for place in range(80):
        start = MONDAY_NS + place * 3600 * SECOND
        names = (
            ["/find", "/open", "/edit"]
            if rng.random() < follows
            else list(rng.permutation(["/find", "/open", "/edit"]))
        )
        if follows < 0.5:
            names = list(rng.choice(["/find", "/open", "/edit", "/ask", "/run"], 3))
        for turn, name in enumerate(names):
            writer = RunWriter(str(name), f"workflow-{place}", start + turn * 60 * SECOND)
            writer.infer(rng.lognormal(0, 0.2))
            runs.append(writer.done())
    truth = (("workflow", {"command": "/edit"}),) if follows > 0.5 else ()
    return Planted(
        "workflow" if follows > 0.5 else "commands in any order", runs, truth, frozenset({"command_sequence"})
    )


def cache_break(rng):
    """Every third call changes the front of its prompt and reads nothing from the cache."""

    def write(writer, rng, _):
        for call in range(9):
            sent = 4000 + 400 * call
            read = 0 if call == 0 or call % 3 == 0 else sent - 400
            writer.infer(rng.lognormal(0, 0.2), sent=sent, out=50, read=read, write=sent - read)
            chained(writer, ("look_up", "measure", "check")[call % 3], 0.3)

    truth = (("cache_break", {"command": "/task"}),)
    consequences = frozenset({"resent_context", "whole_context", "opportunity", "hotspot", "independent_reads"})
    return Planted("cache_break", written(write, rng, 30), truth, consequences)


def over_thinking(rng):
    """Half of the time is spent thinking."""

    def write(writer, rng, _):
        writer.think(4.0 * rng.lognormal(0, 0.2))
        writer.infer(2.0)
        chained(writer, "look_up", 1.0)

    truth = (("over_thinking", {"command": "/task"}),)
    return Planted("over_thinking", written(write, rng, 30), truth, frozenset({"hotspot", "upper_bound"}))


def errors_then_work(rng):
    """A tool fails in one call of four, and what the model then says is wasted."""

    def write(writer, rng, place):
        for turn in range(4):
            writer.infer(rng.lognormal(0, 0.2))
            chained(writer, "flaky", 0.5, error_type="bad_request" if (place + turn) % 4 == 0 else None)

    truth = (("errors", {"tool": "flaky"}),)
    return Planted("errors", written(write, rng, 30), truth, frozenset({"hotspot", "upper_bound", "independent_reads"}))


def clean(rng):
    """Nothing is planted."""
    return Planted("clean", clean_runs(rng, 40), ())


POSITIVE = (
    bottleneck,
    repeat,
    dependency,
    n_plus_one,
    retry_storm,
    rate_limit,
    saturation,
    queueing,
    memory_growth,
    efficiency_pattern,
    allocation,
    slow_cluster,
    workflow,
    cache_break,
    over_thinking,
    errors_then_work,
)
# The same worlds without the fault: whatever is said of it is wrong.
NEGATIVE = (
    clean,
    lambda rng: saturation(rng, slowed=0.0),
    lambda rng: queueing(rng, workers=0),
    lambda rng: memory_growth(rng, leak=0.0),
    lambda rng: efficiency_pattern(rng, faster=0.0),
    lambda rng: allocation(rng, cheaper=False),
    lambda rng: slow_cluster(rng, slower=1.0),
    lambda rng: workflow(rng, follows=0.0),
)
