"""What users and judges say reaches the verdict: from `feedback()` in an agent, through a controller, to a roll-back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.decide.state import State
from otel_perfopt.execution.model import Evaluation
from otel_perfopt.loop.controller import Controller
from otel_perfopt.verify.units import score_name

AGENT = Path(__file__).with_name("scoring_agent.py")
POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: prices, author: somebody}
spec:
  match: {command: [/query], tool: [read_price]}
  optimize: {type: tool_cache, with: {ttl: 5m, scope: conversation}}
  rollout:
    warmup: 0s
    steps: [{treatment: 50%, baseline: 50%}]
    limits: {minUnits: 100, maxUnits: 2000}
  goal: {metric: latency}
  guardrails: [GUARDRAIL]
"""


@pytest.fixture
def answered(tmp_path, request):
    """A controller with the policy in canary, and an agent whose conversations are over but not yet judged."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "prices.yaml").write_text(POLICY.replace("GUARDRAIL", request.param))
    controller = Controller(tmp_path)
    controller.turn()
    controller.policies.approve("prices", "a-second-person", "", time.time_ns(), "canary")
    controller.turn()
    environment = run_environment({**os.environ, "OTEL_BSP_SCHEDULE_DELAY": "200"}, tmp_path)
    with subprocess.Popen(
        [sys.executable, str(AGENT), "300"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as agent:
        assert agent.stdout.readline() == "answered\n"
        yield controller, agent
        agent.kill()


def turns(controller, done, limit_s=30.0):
    deadline = time.monotonic() + limit_s
    while True:
        turn = controller.turn()
        if done(turn):
            return turn
        assert time.monotonic() < deadline, turn
        time.sleep(0.2)


def units(turn):
    assert not turn.transitions
    verdict = turn.standings["prices"].verdict
    return verdict.treatment_units + verdict.baseline_units


BY_SATISFACTION = "{metric: satisfaction, maxDecrease: 20%}"
BY_RELEVANCE = "{metric: relevance, maxDecrease: 20%}"


@pytest.mark.parametrize("answered", [BY_SATISFACTION, BY_RELEVANCE], indirect=True)
def test_what_people_say_afterwards_takes_a_policy_back(answered):
    """Scores given long after the answers, when every run was compared already, still show harm."""
    controller, agent = answered
    before = turns(controller, lambda turn: units(turn) == 300)
    guard = before.standings["prices"].verdict.metrics[1]
    assert not guard.harmed
    assert all(unit.values["memory"] > 1e6 for unit in before.standings["prices"].units)
    assert (guard.treatment_units, guard.baseline_units) == (0, 0)
    agent.communicate("go\n", timeout=30)
    assert agent.returncode == 0
    over = turns(controller, lambda turn: bool(turn.transitions))
    (step,) = over.transitions
    assert step.to_state is State.ROLLED_BACK
    assert guard.metric in step.reason


@pytest.mark.parametrize(
    ("said", "metric"),
    [
        ("feedback", "satisfaction"),
        ("User Satisfaction", "satisfaction"),
        ("Relevance", "relevance"),
        ("answer_relevancy", "relevance"),
        ("correctness", "accuracy"),
        ("completeness", "completeness"),
        ("CLARITY", "clarity"),
        ("my judge", "my_judge"),
    ],
)
def test_evaluators_names_are_metrics(said, metric):
    """However an evaluator spells it, a policy names it by one word."""
    assert score_name(Evaluation(said).name) == metric
