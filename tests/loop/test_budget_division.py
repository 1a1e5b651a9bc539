"""Budgets of early calls move to the commands whose early calls are used, and back: by sums, and with a real agent."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from pydantic import ValidationError

from otel_perfopt import conventions as c
from otel_perfopt.act.clock import Clock
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.snapshot_source import FileSource
from otel_perfopt.decide.adaptation import REALLOCATE_EVENT
from otel_perfopt.decide.early_budget import EarlyBudget, EarlyWorth, divided
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.loop.controller import Controller
from otel_perfopt.signal.calls import RunContext, ToolCall, ToolRequest
from otel_perfopt.signal.emit.telemetry_file import RotatingStream, TelemetryFileExporter

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: ahead, author: somebody}
spec:
  match: {command: ["*"]}
  effects: {look: read}
  optimize: {type: parallel_tools}
  budget: {perMinute: 60, floor: 10%}
  rollout: {warmup: 0s, steps: [{treatment: 99%, baseline: 1%}], limits: {minUnits: 100, maxUnits: 8000}}
  mode: canary
  goal: {metric: latency}
  guardrails: [{metric: task_failure, maxIncrease: 20pp}]
"""
BUDGET = EarlyBudget.model_validate({"perMinute": 60, "floor": "10%"})
WORTH = st.builds(EarlyWorth, st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))


@given(st.dictionaries(st.text(max_size=5), WORTH, max_size=30))
def test_shares_always_add_up_and_nobody_gets_less_than_its_floor(commands):
    """Whatever was measured, shares add up to one, and each command has its floor (or its part of a half)."""
    shares = divided(BUDGET, commands)
    assert set(shares) == set(commands)
    if shares:
        assert sum(shares.values()) == pytest.approx(1.0, abs=0.005)
        assert min(shares.values()) >= min(0.1, 0.5 / len(shares)) - 1e-4


def test_worth_decides_and_few_calls_say_little():
    """Used early calls draw the budget; a command with one lucky call does not."""
    shares = divided(BUDGET, {"used": EarlyWorth(200, 190, 100.0), "vain": EarlyWorth(200, 0, 0.0)})
    assert shares["used"] > 0.8
    assert shares["vain"] >= 0.1
    shares = divided(BUDGET, {"used": EarlyWorth(200, 190, 100.0), "lucky": EarlyWorth(1, 1, 5.0)})
    assert shares["lucky"] < 0.7


def test_a_budget_is_of_early_calls_only():
    """A type that makes no early call has no such budget."""
    spec = {
        "match": {"tool": "a"},
        "goal": {"metric": "latency"},
        "optimize": {"type": "tool_cache"},
        "budget": {"perMinute": 5},
    }
    whole = {"apiVersion": "perfopt.dev/v1", "kind": "OptimizationPolicy", "metadata": {"name": "p"}, "spec": spec}
    with pytest.raises(ValidationError, match="only parallel_tools and preload"):
        OptimizationPolicy.model_validate(whole)


def look(place):
    time.sleep(0.002)
    return {"place": place}


class SmallAgent:
    """A real runtime on a real snapshot file, with real spans in the telemetry folder; its minutes go by quickly."""

    def __init__(self, home):
        self.home = home
        self.ahead_ns = 0
        self.count = 0
        self.source = FileSource(home)
        self.runtime = Runtime(self.source, clock=Clock(time.time_ns, lambda: time.monotonic_ns() + self.ahead_ns))
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.exporter = TelemetryFileExporter(RotatingStream(home / "telemetry"))
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def clock(self):
        return time.time_ns() + self.ahead_ns

    def run(self, command, *, used):
        """A reply asks for two reads; the agent makes them, or has changed its mind and looks elsewhere."""
        self.count += 1
        span = self.provider.get_tracer(c.INSTRUMENTATION_SCOPE).start_span(
            f"command {command}", start_time=self.clock()
        )
        conversation = f"c{self.count}"
        span.set_attributes(
            {c.STEP_KIND: c.STEP_COMMAND, c.COMMAND_NAME: command, c.GEN_AI_CONVERSATION_ID: conversation}
        )
        run = RunContext(command, conversation, "", span)
        places = [f"{conversation}-a", f"{conversation}-b"]
        requests = [ToolRequest(f"r{number}", "look", {"place": place}) for number, place in enumerate(places)]
        self.runtime.on_reply(run, requests, {"look": ToolCall("look", look, (), {}, run)})
        for place in places if used else ["elsewhere"]:
            call = ToolCall("look", look, (), {"place": place}, run)
            assert self.runtime.around_tool(call, lambda made: made.function(**made.kwargs)) == {"place": place}
        self.runtime.run_ended(run)
        span.end(end_time=self.clock())

    def started(self, controller):
        """Return what each command's early calls came to so far, as the controller has read it."""
        return {name: sums.started for name, sums in controller.budgets._budgets["ahead"].commands.items()}

    def close(self):
        self.runtime.close()
        self.provider.shutdown()


@pytest.fixture
def agent(tmp_path):
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "ahead.yaml").write_text(POLICY)
    made = SmallAgent(tmp_path)
    yield made
    made.close()


def minutes(agent, controller, number, used_of):
    """Let minutes go by in which both commands run all the time; returns the shares in force after them."""
    for _ in range(number):
        for _ in range(40):
            for command, used in used_of.items():
                agent.run(command, used=used)
        agent.ahead_ns += 62 * 10**9
        controller.turn()
        agent.ahead_ns += 20 * 10**9
        controller.turn()
        agent.source.look_once()
    return controller.policies.journal.adaptations.budgets.get("ahead", {})


def test_a_command_whose_early_calls_are_wasted_loses_budget_and_gets_it_back(agent):
    """With a real agent: one command uses its early calls and draws the budget; when the two change roles, it moves."""
    controller = Controller(agent.home, agent.clock)
    controller.turn()
    controller.policies.approve("ahead", "a-second-person", "looked at it", agent.clock(), "canary")
    controller.turn()
    agent.source.look_once()
    shares = minutes(agent, controller, 4, {"/used": True, "/vain": False})
    assert shares["/used"] > 0.7
    assert 0.1 <= shares["/vain"] < 0.3
    (decision,) = agent.source.current().plan.rules
    assert decision.decision.budgets[0].shares == shares
    agent.ahead_ns += 1200 * 10**9
    controller.turn()
    shares = minutes(agent, controller, 5, {"/used": False, "/vain": True})
    assert shares["/vain"] > 0.6
    assert shares["/used"] < 0.4
    told = [entry for entry in controller.policies.ledger.entries if entry.event == REALLOCATE_EVENT]
    assert len(told) >= 2
    assert told[0].policy == "ahead"
    assert set(told[0].details["commands"]["/used"]) == {"started", "used", "saved_s_per_call"}
    assert "of ahead's early calls now" in told[-1].reason
