"""What is in force, and how soon that is seen."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from governed import Agent, decision, snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_perfopt.act.clock import Clock
from otel_perfopt.act.runtime import Runtime, install
from otel_perfopt.act.snapshot_source import FileSource, FixedSource
from otel_perfopt.settings import AgentSettings


def publish(home: Path, document: str) -> None:
    home.mkdir(exist_ok=True)
    temporary = home / "snapshot.tmp"
    temporary.write_text(document)
    temporary.replace(home / "snapshot.json")


def policies(source: FileSource) -> list[str]:
    source.look()
    return [rule.decision.policy for rule in source.current().plan.rules]


@pytest.fixture
def source(tmp_path):
    source = FileSource(tmp_path, poll_s=60)
    yield source
    source.close()


def eventually(condition, within_s=2.0):
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_missing_snapshot_means_nothing_is_in_force(source):
    """No folder, no file, no decision."""
    assert policies(source) == []
    assert not source.faults


def test_a_published_snapshot_is_followed_and_a_removed_one_is_not(source, tmp_path):
    """Each look sees what the file says now."""
    publish(tmp_path, snapshot(decision()).to_json())
    assert policies(source) == ["tool-cache-policy"]
    publish(tmp_path, snapshot(decision(policy="other")).to_json())
    assert policies(source) == ["other"]
    (tmp_path / "snapshot.json").unlink()
    assert policies(source) == []


def test_a_swapped_symbolic_link_is_seen(source, tmp_path):
    """A ConfigMap's update exchanges a folder behind a link; the file's own path never changes."""
    for name in ("one", "two"):
        publish(tmp_path / name, snapshot(decision(policy=name)).to_json())
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "snapshot.json").symlink_to("..data/snapshot.json")
    assert policies(source) == ["one"]
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(tmp_path / "..data")
    assert policies(source) == ["two"]


@pytest.mark.parametrize("broken", ["", "{", "null", '{"version": 2}', "[" * 200_000, '{"version":1,"decisions":3}'])
def test_a_corrupt_snapshot_keeps_the_last_good_one(source, tmp_path, broken):
    """It is counted once, not at every look."""
    publish(tmp_path, snapshot(decision()).to_json())
    assert policies(source) == ["tool-cache-policy"]
    publish(tmp_path, broken)
    assert policies(source) == policies(source) == ["tool-cache-policy"]
    assert source.faults["corrupt"] == 1


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_document_breaks_the_watcher(tmp_path, data):
    """Whatever stands in the file, looking at it raises nothing and yields rules that can be asked."""
    document = json.loads(snapshot(decision(parameters={"ttl": "5m"})).to_json())
    junk = st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    )
    target = document["decisions"][0] if data.draw(st.booleans()) else document
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(junk)
    source = FileSource(tmp_path, poll_s=60)
    publish(tmp_path, json.dumps(document))
    source.look()
    selection = source.current().plan.select("/query", "read_a", "unknown")
    assert set(selection.rules) <= {"tool_cache", "parallel_tools"}
    source.close()


def test_one_bad_decision_leaves_the_others_in_force(source, tmp_path):
    """It is left out and counted; its calls stay plain."""
    bad = decision(policy="bad", parameters={"ttl": "soon"})
    unknown = decision(policy="unknown", optimization="time_travel")
    publish(tmp_path, snapshot(bad, decision(policy="good"), unknown).to_json())
    assert policies(source) == ["good"]
    assert source.faults["decision"] == 2


def test_kill_files_are_seen(source, tmp_path):
    """`kill` stops everything, `kill.d/<policy>` one policy; removing them ends it."""
    publish(tmp_path, snapshot(decision()).to_json())
    (tmp_path / "kill").touch()
    source.look()
    assert source.current().killed
    (tmp_path / "kill").unlink()
    (tmp_path / "kill.d").mkdir()
    (tmp_path / "kill.d" / "tool-cache-policy").touch()
    source.look()
    assert not source.current().killed
    assert source.current().killed_policies == {"tool-cache-policy"}


def test_a_stuck_watcher_counts_as_stalled(tmp_path):
    """Two seconds without a look: a kill could not be seen any more."""
    now = [0]
    source = FileSource(tmp_path, clock=Clock(monotonic_ns=lambda: now[0]), poll_s=60)
    source.look()
    now[0] = 2 * 10**9
    assert not source.stalled()
    now[0] += 1
    assert source.stalled()
    source.close()


@pytest.mark.parametrize("how", ["file", "policy", "snapshot"])
def test_a_kill_is_effective_within_two_seconds(tmp_path, new_run, how):
    """From the switch to the first plain call, with the real watcher."""
    publish(tmp_path, snapshot(decision()).to_json())
    runtime = install(AgentSettings(home=tmp_path))
    calls = []

    def read():
        calls.append(1)

    agent = Agent(runtime, new_run())
    agent.call(read), agent.call(read)
    assert len(calls) == 1
    if how == "file":
        (tmp_path / "kill").touch()
    elif how == "policy":
        (tmp_path / "kill.d").mkdir()
        (tmp_path / "kill.d" / "tool-cache-policy").touch()
    else:
        publish(tmp_path, snapshot(decision(), killed=True).to_json())

    def plain():
        before = len(calls)
        agent.call(read)
        return len(calls) > before

    assert eventually(plain)
    runtime.close()


def test_the_environment_kills_from_the_start(tmp_path, new_run):
    """`PERFOPT_KILL` wins over any snapshot."""
    publish(tmp_path, snapshot(decision()).to_json())
    runtime = install(AgentSettings(home=tmp_path, killed=True))
    calls = []

    def read():
        calls.append(1)

    agent = Agent(runtime, new_run())
    agent.call(read), agent.call(read)
    assert len(calls) == 2
    runtime.close()


def test_an_expired_lease_falls_back_to_baseline(new_run):
    """When the controller has been silent for longer than the lease, treatment stops, also in mid-run."""
    now = [0]
    source = FixedSource(snapshot(decision(), generated_at_ns=0, lease_s=10.0))
    runtime = Runtime(source, clock=Clock(wall_ns=lambda: now[0]))
    calls = []

    def read():
        calls.append(1)

    agent = Agent(runtime, new_run())
    agent.call(read), agent.call(read)
    now[0] = 10 * 10**9 + 1
    agent.call(read), agent.call(read)
    assert len(calls) == 3
    late = Agent(runtime, new_run(conversation="late"))
    late.call(read)
    assert "perfopt.policy.tool-cache-policy.arm" not in late.run.span.attributes
    runtime.close()


@pytest.mark.parametrize("home", ["/proc/none/such", "/dev/null/home", "/dev/full"])
def test_an_unusable_home_is_survived(home, new_run):
    """A full disk, a file where a folder should be: the agent runs as without."""
    runtime = install(AgentSettings(home=Path(home)))
    agent = Agent(runtime, new_run())
    assert agent.call(lambda: 5) == 5
    runtime.close()


def test_an_unreadable_kill_switch_counts_as_thrown(tmp_path, monkeypatch):
    """Who cannot look at the switch must not assume it is off."""
    source = FileSource(tmp_path, poll_s=60)

    def refuse(self):
        raise PermissionError(str(self))

    monkeypatch.setattr(Path, "lstat", refuse)
    source.look()
    assert source.current().killed
    source.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_follows_the_snapshot_again(tmp_path, new_run):
    """The watcher starts anew with the child's first call, and the parent's results are not the child's."""
    publish(tmp_path, snapshot(decision()).to_json())
    runtime = install(AgentSettings(home=tmp_path))
    calls = []

    def read():
        calls.append(1)
        return len(calls)

    agent = Agent(runtime, new_run())
    assert [agent.call(read), agent.call(read)] == [1, 1]
    child = os.fork()
    if child == 0:
        status = 1
        try:
            first, second = agent.call(read), agent.call(read)
            publish(tmp_path, snapshot(decision(), killed=True).to_json())
            followed = eventually(lambda: agent.call(read) > 2)
            status = 0 if (first, second) == (2, 2) and followed else 3
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    runtime.close()
