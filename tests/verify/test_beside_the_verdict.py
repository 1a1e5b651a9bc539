"""Before and after stands beside the concurrent comparison, in what people read, and decides nothing."""

from __future__ import annotations

import io
import math
import random
import sys
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "loop"))

from simulated_fleet import SECOND, SimulatedFleet

from otel_perfopt.loop.controller import Controller
from otel_perfopt.report.standing import policy_table

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: parallel, author: somebody}
spec:
  match: {command: [/task]}
  optimize: {type: parallel_tools}
  rollout:
    warmup: 0s
    steps: [{treatment: 50%, baseline: 50%}]
  goal: {metric: latency}
"""
DAY = 86_400 * SECOND


def days(fleet, controller, number: int, slower: float = 1.0) -> None:
    """Let some days of traffic go by; everything may become slower, treated or not, as when a model does."""
    for _ in range(number * 24):
        fleet.now_ns += 3600 * SECOND
        plain = fleet.random.lognormvariate
        fleet.random.lognormvariate = lambda mu, sigma: plain(mu + math.log(slower), sigma)  # noqa: B023 - used at once
        fleet.converse(3)
        fleet.random.lognormvariate = plain
    controller.turn()


def test_status_shows_both_and_only_one_decides(tmp_path):
    """Everything becomes 60 % slower at the moment of exposure: before/after says so, the verdict says no difference."""
    fleet = SimulatedFleet(tmp_path, seed=3)
    fleet.random = random.Random(3)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "parallel.yaml").write_text(POLICY)
    controller = Controller(tmp_path, fleet.clock)
    controller.turn()
    days(fleet, controller, 8)
    controller.policies.approve("parallel", "a-second-person", "", fleet.now_ns, "canary")
    controller.turn()
    days(fleet, controller, 8, slower=1.6)
    fleet.now_ns += 60 * SECOND
    turn = controller.turn()
    standing = turn.standings["parallel"]
    assert standing.before_after.effect.low > 0.4
    assert str(standing.verdict.conclusion) == "waiting"
    assert not turn.transitions
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(policy_table(controller.policies.statuses(fleet.now_ns), turn.standings))
    said = console.export_text()
    assert "before/after, descriptive only: +" in said
    assert "latency " in said
