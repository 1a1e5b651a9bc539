"""What is done to a whole process: begun, ended and stamped as snapshots say, whatever fails."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from governed import EVERYBODY, NOBODY, decision, snapshot
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_perfopt import conventions as c
from otel_perfopt.act.clock import Clock
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.process_runtime import ProcessRuntime, use_here
from otel_perfopt.act.process_unit import ProcessUnit
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.snapshot_source import NOTHING_IN_FORCE, FileSource, FixedSource, InForce, in_force_of
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision
from otel_perfopt.signal.calls import RunContext

NAME = "gc_tuning"
POLICY = "gc-tuning-policy"


class Recorded:
    """An optimization that writes down what it is told."""

    name = NAME

    def __init__(self) -> None:
        self.told: list[str] = []
        self.fails_at: str = ""

    def begin(self, use: Use) -> None:
        self._tell(f"begin{' in shadow' if use.shadow else ''}")

    def end(self) -> None:
        self._tell("end")

    def tick(self, quiet_s: float) -> None:
        self.told.append("tick")
        if self.fails_at == "tick":
            raise RuntimeError("planted")

    def facts(self) -> Mapping[str, int]:
        return {"applied": 3}

    def after_fork(self) -> None:
        self.told.append("fork")

    def _tell(self, word: str) -> None:
        self.told.append(word)
        if self.fails_at and word.startswith(self.fails_at):
            raise RuntimeError("planted")

    @property
    def changes(self) -> list[str]:
        return [word for word in self.told if word != "tick"]


def process_decision(**changes: Any) -> Decision:
    return decision(NAME, **{"unit": "process", **changes})


def in_force(*decisions: Decision, **changes: Any) -> InForce:
    return in_force_of(snapshot(*decisions, **changes))


def test_it_is_begun_once_and_ended_when_it_is_gone() -> None:
    """Each look at the same snapshot changes nothing; without the decision it is taken back."""
    recorded = Recorded()
    runtime = ProcessRuntime((recorded,))
    for _ in range(3):
        runtime.follow(in_force(process_decision()))
    assert recorded.changes == ["begin"]
    assert list(runtime.in_force) == [NAME]
    runtime.follow(in_force())
    runtime.follow(in_force())
    assert recorded.changes == ["begin", "end"]
    runtime.follow(in_force(process_decision()))
    runtime.close()
    runtime.follow(in_force(process_decision()))
    assert recorded.changes == ["begin", "end", "begin", "end"]


@pytest.mark.parametrize(
    "gone",
    [
        in_force(process_decision(), killed=True),
        in_force(process_decision(), lease_s=1.0, generated_at_ns=time.time_ns() - 10**10),
        in_force(process_decision(allocation=NOBODY)),
        in_force(process_decision(allocation=Allocation())),
        in_force(process_decision(unit="conversation")),
        NOTHING_IN_FORCE,
    ],
    ids=["killed", "lease over", "baseline", "rolled back", "another unit", "no snapshot"],
)
def test_every_way_out_takes_it_back(gone: InForce) -> None:
    """A kill, the end of the lease, a roll-back and an absent snapshot all end what was begun."""
    recorded = Recorded()
    runtime = ProcessRuntime((recorded,))
    runtime.follow(in_force(process_decision()))
    runtime.follow(gone)
    assert recorded.changes == ["begin", "end"]
    assert not runtime.in_force


def test_a_killed_policy_and_another_digest() -> None:
    """A policy killed by file ends; a changed digest or stage in shadow is begun anew."""
    recorded = Recorded()
    runtime = ProcessRuntime((recorded,))
    runtime.follow(in_force(process_decision()))
    runtime.follow(in_force(process_decision(digest="d2")))
    runtime.follow(in_force(process_decision(digest="d2", stage="canary-2")))
    runtime.follow(in_force(process_decision(digest="d2", stage="shadow")))
    found = in_force(process_decision(digest="d2"))
    runtime.follow(InForce(found.plan, found.expires_ns, killed_policies=frozenset({POLICY})))
    assert recorded.changes == ["begin", "end", "begin", "end", "begin in shadow", "end"]


def test_a_fault_is_taken_back_and_counted(new_run: Callable[..., RunContext], exporter: InMemorySpanExporter) -> None:
    """What cannot be begun is undone, tried three times, then rests; the next command says how often."""
    recorded = Recorded()
    recorded.fails_at = "begin"
    runtime = ProcessRuntime((recorded,))
    for _ in range(10):
        runtime.follow(in_force(process_decision()))
    assert recorded.changes == ["begin", "end"] * 3
    run = new_run()
    runtime.run_began(run)
    runtime.run_ended(run)
    run.span.end()
    said = exporter.get_finished_spans()[-1].attributes or {}
    assert said[c.policy_attribute(POLICY, c.POLICY_FAULTS)] == 3
    assert said[c.policy_attribute(POLICY, c.POLICY_ARM)] == "treatment"


def test_faults_while_it_is_in_force_end_it() -> None:
    """One that fails again and again is taken back until its breaker closes."""
    recorded = Recorded()
    recorded.fails_at = "tick"
    runtime = ProcessRuntime((recorded,))
    for _ in range(5):
        runtime.follow(in_force(process_decision()))
    assert recorded.changes == ["begin", "end"]


def test_commands_say_which_arm_their_process_is_in(
    new_run: Callable[..., RunContext], exporter: InMemorySpanExporter
) -> None:
    """Both arms and shadow are stamped with what was allocated; commands it does not match are not."""
    for allocation, stage, arm in ((EVERYBODY, "canary-1", "treatment"), (NOBODY, "canary-1", "baseline")):
        runtime = ProcessRuntime((Recorded(),), unit=lambda: "unit-1")
        only = process_decision(allocation=allocation, stage=stage)
        runtime.follow(in_force(only))
        run = new_run()
        runtime.run_began(run)
        runtime.run_ended(run)
        run.span.end()
        said = exporter.get_finished_spans()[-1].attributes or {}
        assert said[c.policy_attribute(POLICY, c.POLICY_ARM)] == arm
        assert said[c.policy_attribute(POLICY, c.POLICY_DIGEST)] == "d1"
        assert len(str(said[c.policy_attribute(POLICY, c.POLICY_UNIT)])) == 16
        assert (c.policy_attribute(POLICY, "applied") in said) is (arm == "treatment")


def test_who_is_treated_only_grows_with_the_allocation() -> None:
    """A ramp adds processes and swaps none; shares come out as declared."""
    plan = [in_force(process_decision(allocation=Allocation(share, share))).plan for share in (0.05, 0.25, 0.5)]
    treated = [
        {unit for unit in map(str, range(2000)) if (use := use_here(one.process_rules[0], unit)) and not use.shadow}
        for one in plan
    ]
    assert treated[0] < treated[1] < treated[2]
    assert abs(len(treated[2]) - 1000) < 100


def test_quiet_is_told_apart_from_busy(new_run: Callable[..., RunContext]) -> None:
    """While a command is open no time is quiet; afterwards the clock runs."""
    now = [0]
    told: list[float] = []

    class Listening(Recorded):
        def tick(self, quiet_s: float) -> None:
            told.append(quiet_s)

    runtime = ProcessRuntime((Listening(),), clock=Clock(time.time_ns, lambda: now[0]))
    found, run = in_force(process_decision()), new_run()
    now[0] = 2 * 10**9
    runtime.follow(found)
    runtime.run_began(run)
    runtime.follow(found)
    runtime.run_ended(run)
    now[0] += 3 * 10**9
    runtime.follow(found)
    assert told == [2.0, 0.0, 3.0]


def test_a_fork_is_a_unit_of_its_own_unless_bound() -> None:
    """A child draws anew, except where what its parent did at its start binds it."""
    unit = ProcessUnit()
    before = unit.unit
    unit.pin()
    unit.after_fork()
    assert unit.unit == before
    unit.unpin()
    unit.after_fork()
    assert unit.unit != before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_follows_its_own_snapshot(tmp_path: Path) -> None:
    """In the child nothing hangs, what is in force stays so until the next look, and ends with it."""
    source = FileSource(tmp_path)
    recorded = Recorded()
    runtime = ProcessRuntime((recorded,))
    source.subscribe(runtime.follow)
    runtime.follow(in_force(process_decision()))
    child = os.fork()
    if child == 0:
        try:
            source.after_fork()
            runtime.after_fork()
            source.start()
            deadline = time.monotonic() + 5
            while runtime.in_force and time.monotonic() < deadline:
                time.sleep(0.02)
            os._exit(0 if recorded.changes == ["begin", "fork", "end"] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert recorded.changes == ["begin"]


def test_the_watcher_tells_and_survives_its_listeners(tmp_path: Path) -> None:
    """Every look is told from the watcher's thread; a listener that raises is counted and stops nothing."""
    source = FileSource(tmp_path, poll_s=0.01)
    told: list[InForce] = []

    def broken(_: InForce) -> None:
        raise RuntimeError("planted")

    source.subscribe(broken)
    source.subscribe(told.append)
    (tmp_path / "snapshot.json").write_text(snapshot(process_decision()).to_json())
    source.start()
    deadline = time.monotonic() + 5
    while not any(item.plan.process_rules for item in told) and time.monotonic() < deadline:
        time.sleep(0.01)
    source.close()
    assert any(item.plan.process_rules for item in told)
    assert source.faults["listener"] >= 1


def test_the_runtime_applies_and_takes_back_the_real_thing() -> None:
    """A snapshot sets the collector's threshold; closing the runtime sets it back."""
    import gc  # noqa: PLC0415

    before = gc.get_threshold()
    wanted = process_decision(parameters={"threshold": 54_321, "freeze": False, "collect_idle": False})
    runtime = Runtime(FixedSource(snapshot(wanted)))
    assert gc.get_threshold()[0] == 54_321
    runtime.close()
    assert gc.get_threshold() == before
