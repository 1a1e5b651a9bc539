"""The example agent at work in shadow: its own telemetry shows what a selection would have kept."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Match, Snapshot
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.loop.shadow_watch import ShadowWatch
from otel_perfopt.signal.read.recorded import open_recorded

pytest.importorskip("openai")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
from support.launch import running_backends


def shadow(policy, optimization, parameters):
    return Decision(
        policy=policy,
        digest="d",
        optimization=optimization,
        stage="shadow",
        allocation=Allocation(baseline=1.0),
        parameters=parameters,
        match=Match(command=("/*",)),
    )


def worked(tmp_path, *decisions):
    """Run a few conversations under a snapshot file; returns what shadow showed of each policy."""
    home = tmp_path / "home"
    home.mkdir()
    snapshot = Snapshot(1, time.time_ns(), 3600.0, decisions=decisions)
    (home / "snapshot.json").write_text(snapshot.to_json())
    with running_backends(tmp_path / "backends", back_office=False) as backends:
        arguments = ["--conversations", "12", "--concurrency", "4", "--pause", "0", "--commands", "query"]
        subprocess.run(
            [sys.executable, "-m", "support.workload", *arguments],
            env=run_environment({**os.environ, **backends}, home, commands=["support.agent:SupportAgent.query=/query"]),
            check=True,
            capture_output=True,
        )
    watch = ShadowWatch()
    runs = list(RecordedExecutions(open_recorded([home / "telemetry"])).executions())
    for run in runs:
        watch.observe(run)
    assert len(runs) == 12
    return [watch.report(decision.policy, decision.digest).retained for decision in decisions]


@pytest.mark.slow
def test_a_selection_that_keeps_what_answers_quote_is_told_from_a_cut_that_loses_it(tmp_path):
    """Sections come by what is asked and found, so answers' rules are there; results cut to nothing lack what answers say."""
    good, bad = worked(
        tmp_path,
        shadow("good", "selective_context", {"max_sections": 2}),
        shadow("bad", "context_compression", {"max_chars": 20, "min_saving": 1}),
    )
    assert good.units >= 5
    assert good.share > 0.9
    assert bad.units >= 5
    assert bad.share < 0.5
    assert bad.high < 0.98
