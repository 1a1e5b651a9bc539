"""A controller that dies at any moment leaves a ledger that verifies and a snapshot that can be read."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from simulated_fleet import SimulatedFleet

from otel_perfopt.act.snapshot_source import FileSource
from otel_perfopt.decide.decision import Snapshot
from otel_perfopt.decide.ledger import Ledger
from otel_perfopt.decide.policy_set import PolicySet

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {{name: policy-{number}, author: somebody}}
spec:
  match: {{command: [/task-{number}]}}
  optimize: {{type: parallel_tools}}
  goal: {{metric: latency}}
"""


def start(home):
    command = [sys.executable, "-m", "otel_perfopt.cli.main", "loop", "--every", "0.1", "--home", str(home)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for(path):
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.02)


@pytest.mark.parametrize("alive_s", [0.0, 0.07, 0.3])
def test_killed_at_any_moment_it_leaves_what_the_next_one_goes_on_with(tmp_path, alive_s):
    """Killed with SIGKILL while policies are declared and snapshots published: nothing torn, nothing forgotten."""
    SimulatedFleet(tmp_path)
    policies = tmp_path / "policies"
    policies.mkdir()
    for number in range(8):
        (policies / f"{number}.yaml").write_text(POLICY.format(number=number))
    controller = start(tmp_path)
    wait_for(tmp_path / ("ledger.jsonl" if alive_s == 0 else "snapshot.json"))
    time.sleep(alive_s)
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    controller.stderr.close()
    if (tmp_path / "snapshot.json").exists():
        Snapshot.from_json((tmp_path / "snapshot.json").read_text())
    again = PolicySet.open(tmp_path, time.time_ns())
    assert len(again.statuses(time.time_ns())) == 8
    assert Ledger(tmp_path / "ledger.jsonl").verify().sequence > 0
    assert len(list(tmp_path.glob(".*.tmp"))) <= 1


def test_agents_fall_back_when_the_controller_is_silent(tmp_path):
    """A snapshot past its lease treats nobody, without anybody telling the agents."""
    snapshot = Snapshot(1, time.time_ns() - 61_000_000_000, 60.0)
    (tmp_path / "snapshot.json").write_text(snapshot.to_json())
    source = FileSource(tmp_path, {})
    try:
        wait_for(tmp_path / "snapshot.json")
        assert source.current().expires_ns < time.time_ns()
    finally:
        source.close()
