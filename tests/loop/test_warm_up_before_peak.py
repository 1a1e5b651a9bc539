"""Weeks of telemetry wake a proposed warm-up before the daily peak, and agents find their caches filled when it comes."""

from __future__ import annotations

import json
import time
from concurrent.futures import Executor, Future
from itertools import count, islice

import pytest
import yaml
from click.testing import CliRunner
from recorded_weeks import HOUR, MONDAY, RecordedWeeks, daily_load

from otel_perfopt import conventions as c
from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.clock import Clock
from otel_perfopt.act.process_unit import THIS_PROCESS
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.snapshot_source import FileSource
from otel_perfopt.cli.group import cli
from otel_perfopt.decide.allocation import TREATMENT, Allocation
from otel_perfopt.decide.state import State
from otel_perfopt.loop.controller import Controller
from otel_perfopt.signal.calls import RunContext, ToolCall
from otel_perfopt.signal.digest import content_digest

WEEKS = 3
MINUTE = 60 * 10**9
STEPS = {"warmup": "0s", "steps": [{"treatment": "50%", "baseline": "50%"}]}
CACHE = {
    "apiVersion": "perfopt.dev/v1",
    "kind": "OptimizationPolicy",
    "metadata": {"name": "menu-cache", "author": "somebody"},
    "spec": {
        "match": {"tool": ["read_menu"]},
        "effects": {"read_menu": "read"},
        "optimize": {"type": "tool_cache", "with": {"ttl": "6h", "scope": "process"}},
        "rollout": STEPS,
        "goal": {"metric": "latency"},
    },
}


class AtOnce(Executor):
    """Runs what is submitted before it returns."""

    def submit(self, function, /, *arguments, **named):
        future = Future()
        future.set_result(function(*arguments, **named))
        return future


def text(key, value):
    return {"key": key, "value": {"stringValue": value}}


def write_reads(home):
    """Twenty conversations of the last day that all read today's menu, with content."""
    arguments = {"day": "today"}
    lines = []
    for number in range(20):
        start = MONDAY + (WEEKS * 168 - 30 + number) * HOUR
        trace, command, tool = f"{10**6 + number:032x}", f"{10**6 + number:016x}", f"{2 * 10**6 + number:016x}"
        spans = [
            {
                "traceId": trace, "spanId": command, "name": "command /task", "startTimeUnixNano": str(start),
                "endTimeUnixNano": str(start + 10**9),
                "attributes": [
                    text(c.STEP_KIND, "command"), text(c.COMMAND_NAME, "/task"),
                    text(c.GEN_AI_CONVERSATION_ID, f"conversation-{number}"),
                ],
            },
            {
                "traceId": trace, "spanId": tool, "parentSpanId": command, "name": "execute_tool read_menu",
                "startTimeUnixNano": str(start + 10**8), "endTimeUnixNano": str(start + 4 * 10**8),
                "attributes": [
                    text(c.STEP_KIND, "tool"), text(c.GEN_AI_TOOL_NAME, "read_menu"), text(c.TOOL_EFFECTS, "read"),
                    text(c.GEN_AI_TOOL_CALL_ARGUMENTS, json.dumps(arguments)), text(c.RESULT_DIGEST, "same"),
                    text(c.ARGUMENTS_DIGEST, content_digest(arguments)),
                ],
            },
        ]  # fmt: skip
        scope = {"scope": {"name": c.INSTRUMENTATION_SCOPE}, "spans": spans}
        lines.append(json.dumps({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [scope]}]}) + "\n")
    (home / "telemetry" / "agent-2.jsonl").write_text("".join(lines))


@pytest.fixture
def now():
    """The wall clock of controller and agent, in hours since the first Monday: `now[0]` is now."""
    return [WEEKS * 168 + 9.0]


@pytest.fixture
def home(tmp_path):
    weeks = RecordedWeeks(tmp_path)
    for hour in range(WEEKS * 168 + 9):
        weeks.write(hour, weeks.poisson(daily_load(hour)), 1.0)
    write_reads(tmp_path)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "menu-cache.yaml").write_text(yaml.safe_dump(CACHE))
    return tmp_path


@pytest.fixture
def agent(home, now):
    """An agent's runtime that follows the home folder's snapshot; gives it, and which menus were really read."""
    read = []

    def read_menu(day):
        read.append(day)
        return {"day": day, "dishes": ["soup"]}

    known = {"read_menu": ToolCall("read_menu", read_menu, (), {}, effects="read")}
    clock = Clock(wall_ns=lambda: MONDAY + int(now[0] * HOUR))
    source = FileSource(home, clock=clock, poll_s=0.05)
    source.start()
    runtime = Runtime(source, clock=clock, spans=CallSpans(template=known.get))

    def ask(conversation):
        call = ToolCall("read_menu", read_menu, (), {"day": "today"}, RunContext("/task", conversation), effects="read")
        return runtime.around_tool(call, lambda one: one.function(*one.args, **one.kwargs))

    yield runtime, ask, read
    runtime.close()


def treated(home, policy, prefix):
    """Yield units that the snapshot's allocation treats, so that nothing depends on their lot."""
    said = json.loads((home / "snapshot.json").read_text())["decisions"]
    one = next(decision for decision in said if decision["policy"] == policy)
    allocation = Allocation(**{key: one["allocation"][key] for key in ("treatment", "baseline")})
    units = (f"{prefix}-{number}" for number in count())
    return (unit for unit in units if allocation.arm(one["salt"], unit) == TREATMENT)


def until(holds):
    deadline = time.monotonic() + 20
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert holds()


@pytest.mark.slow
def test_caches_are_filled_before_the_peak_and_answer_during_it(home, now, agent, monkeypatch):
    """Nothing is read ahead at night; minutes before the peak the menu is, once; at the peak it comes from the cache."""
    controller = Controller(home, lambda: MONDAY + int(now[0] * HOUR), executor=AtOnce(), proposes=True)

    def turns():
        told = [controller.turn() for _ in range(2)]
        assert [problem for turn in told for problem in turn.problems] == []

    def state(name):
        return next(one.state.state for one in controller.policies.statuses(MONDAY) if one.name == name)

    runtime, ask, read = agent
    turns()
    files = [path for path in (home / "policies" / "proposed").glob("*.yaml") if "warm-up" in path.name]
    documents = {path: yaml.safe_load(path.read_text()) for path in files}
    document = next(one for one in documents.values() if one["spec"].get("when"))
    metric = document["spec"]["when"]["metric"]
    assert document["spec"]["when"] == {"finding": "seasonal_peak", "metric": metric, "ahead": "5m"}
    given = document["spec"]["optimize"]["with"]
    assert given["calls"] == [{"tool": "read_menu", "arguments": {"day": "today"}}]
    assert CliRunner().invoke(cli, ["check", "--home", str(home)]).exit_code == 0
    # The person who takes the proposal over declares the tool and wants nearly every process warm.
    for path in files:
        path.unlink()
    document["metadata"] = {"name": "warm-menu", "author": "somebody"}
    document["spec"] |= {"effects": {"read_menu": "read"}, "rollout": STEPS}
    (home / "policies" / "warm-menu.yaml").write_text(yaml.safe_dump(document))
    turns()
    controller.policies.approve("menu-cache", "ann", "", MONDAY + int(now[0] * HOUR))
    turns()
    assert (state("menu-cache"), state("warm-menu")) == (State.CANARY, State.DORMANT)
    peak = next(
        one for one in controller.findings.latest(MONDAY + int(now[0] * HOUR), print)
        if (one.kind, one.effect.metric) == ("seasonal_peak", metric)
    )  # fmt: skip
    start, end = ((moment - MONDAY) / HOUR for moment in peak.window_ns)
    until(lambda: runtime.process.in_force == {})
    assert read == []

    now[0] = start - 4 / 60
    turns()
    controller.policies.approve("warm-menu", "ann", "", MONDAY + int(now[0] * HOUR))
    turns()
    assert state("warm-menu") is State.CANARY
    monkeypatch.setattr(THIS_PROCESS, "unit", next(treated(home, "warm-menu", "process")))
    until(lambda: read == ["today"])
    until(lambda: runtime.process._optimizations["warm_up"].facts().get("started") == 1)
    until(lambda: runtime.process.in_force["warm_up"].policy == "warm-menu")

    now[0] = start + 0.5
    turns()
    conversations = islice(treated(home, "menu-cache", "peak"), 50)
    assert [ask(one) for one in conversations] == [{"day": "today", "dishes": ["soup"]}] * 50
    assert read == ["today"], "all fifty were answered from what was read before the peak"
    assert runtime.process._optimizations["warm_up"].facts()["claimed"] == 1

    now[0] = end + 0.1
    turns()
    assert state("warm-menu") is State.DORMANT
    until(lambda: runtime.process.in_force == {})
