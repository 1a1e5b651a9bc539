"""A server that forks: what its parent set aside stays shared, and its children share its lot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time

import pytest
from governed import decision

from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.decide.decision import Snapshot

PROGRAM = """
    import gc, json, os
    import otel_perfopt

    threshold = gc.get_threshold()[0]
    kept = [[number] for number in range(1000)]
    with otel_perfopt.command("/warm"):
        pass
    frozen_before = gc.get_freeze_count()
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        from otel_perfopt.act.process_unit import THIS_PROCESS
        with otel_perfopt.command("/work"):
            pass
        os.write(write_end, json.dumps([gc.get_freeze_count(), gc.get_threshold()[0], THIS_PROCESS.unit]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    from otel_perfopt.act.process_unit import THIS_PROCESS
    child = json.loads(os.read(read_end, 1000))
    print(json.dumps([threshold, frozen_before, gc.get_freeze_count(), THIS_PROCESS.unit, *child]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.parametrize("policy", [True, False], ids=["with the policy", "without"])
def test_the_parent_sets_aside_what_it_has_before_it_forks(tmp_path, policy):
    """The collector is set before the agent's own imports; at a fork everything is frozen, in parent and child."""
    (tmp_path / "home").mkdir()
    given = {"threshold": 12_345, "collect_idle": False}
    decisions = (decision("gc_tuning", parameters=given, unit="process"),) if policy else ()
    text = Snapshot(1, time.time_ns(), 3600.0, decisions=decisions).to_json()
    (tmp_path / "home" / "snapshot.json").write_text(text)
    env = run_environment(os.environ, tmp_path / "home")
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(PROGRAM)],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    threshold, _, frozen, unit, frozen_in_child, threshold_in_child, unit_of_child = json.loads(done.stdout)
    if policy:
        assert threshold == threshold_in_child == 12_345
        assert frozen > 1000
        assert frozen_in_child >= 0.9 * frozen
        assert unit_of_child == unit
    else:
        assert threshold != 12_345
        assert (frozen, frozen_in_child) == (0, 0)
        assert unit_of_child != unit
