"""Runs become units: one row a conversation, arms consistent, bounded."""

from __future__ import annotations

import math

import pytest

from otel_perfopt.conventions import POLICY_FAULTS, policy_attribute
from otel_perfopt.execution.model import Assignment, Evaluation, Execution, Outcome, Step, StepKind, Target, TokenUsage
from otel_perfopt.verify.units import UnitTable, units_of

S = 1_000_000_000


def step(kind: StepKind, start_s: float = 0, seconds: float = 1, **fields) -> Step:
    start_ns = int(start_s * S)
    return Step("t", "s", "", kind, kind.value, Target(), start_ns, start_ns + int(seconds * S), **fields)


def run(conversation: str, start_s: float = 0, seconds: float = 2, arm: str = "treatment", **fields) -> Execution:
    fields.setdefault("arms", {"p": Assignment(arm, "d1", "canary-1", 0.5)})
    steps = fields.pop("steps", ())
    return Execution(step(StepKind.COMMAND, start_s, seconds), steps, conversation, **fields)


def test_a_conversation_is_one_row_of_means():
    """Two commands of one conversation give their mean seconds, tokens and cost, each cost counted once."""
    priced = (
        step(StepKind.INFERENCE, tokens=TokenUsage(100, 20), cost_usd=0.02),
        step(StepKind.OTHER, cost_usd=0.02),
    )
    cheap = (step(StepKind.INFERENCE, tokens=TokenUsage(40, 0), cost_usd=0.01),)
    found = list(units_of([run("c", 5, 2, steps=priced), run("c", 9, 4, steps=cheap)]))
    assert len(found) == 1
    unit = found[0]
    assert (unit.unit_id, unit.policy, unit.digest, unit.stage, unit.arm) == ("c", "p", "d1", "canary-1", "treatment")
    assert unit.first_ns == 5 * S
    assert unit.values["latency"] == pytest.approx(3.0)
    assert unit.values["tokens"] == pytest.approx(80.0)
    assert unit.values["cost_usd"] == pytest.approx(0.015)
    assert unit.values["commands"] == 2
    assert unit.values["completion"] == 1.0


def test_any_failure_makes_the_unit_fail():
    """One failed, interrupted or erring command marks the whole conversation."""
    broken = (step(StepKind.TOOL, error_type="timeout"),)
    unit = next(
        units_of([run("c"), run("c", outcome=Outcome.FAILED), run("c", outcome=Outcome.INTERRUPTED, steps=broken)])
    )
    assert unit.values["task_failure"] == unit.values["interrupted"] == unit.values["tool_error"] == 1.0
    assert unit.values["completion"] == unit.values["fault"] == 0.0


def test_what_was_not_measured_is_absent():
    """No clock, no tokens and no price: no values, rather than zeros."""
    unit = next(units_of([run("c", timed=False)]))
    assert not {"latency", "tokens", "cost_usd"} & set(unit.values)


def test_a_conversation_in_both_arms_is_excluded_and_counted():
    """A fallback in the middle of a conversation makes it useless; a fault in it is still told."""
    faulty = (step(StepKind.TOOL, attributes={policy_attribute("p", POLICY_FAULTS): 1}),)
    table = UnitTable()
    for execution in (run("c", steps=faulty), run("c", arm="baseline"), run("e")):
        table.observe(execution)
    assert [unit.unit_id for unit in table.units("p", "d1")] == ["e"]
    excluded = table.exclusions("p", "d1")
    assert excluded.counts == {"seen in both arms": 1}
    assert excluded.faulted == 1


def test_a_fault_of_another_policy_is_not_ours():
    """Faults count for the policy they name."""
    faulty = (step(StepKind.TOOL, attributes={policy_attribute("q", POLICY_FAULTS): 1}),)
    assert next(units_of([run("c", steps=faulty)])).values["fault"] == 0.0


def test_a_new_digest_starts_anew():
    """The same conversation under another digest is another trial's unit."""
    later = run("c", 50, arms={"p": Assignment("baseline", "d2", "canary-1", 0.5)})
    found = list(units_of([run("c"), later]))
    assert [(unit.digest, unit.arm) for unit in found] == [("d1", "treatment"), ("d2", "baseline")]


def test_the_stage_is_that_of_the_first_command():
    """A conversation that goes on through a ramp belongs to where it began, also when runs arrive late."""
    early = run("c", 1, arms={"p": Assignment("treatment", "d1", "canary-1", 0.05)})
    late = run("c", 9, arms={"p": Assignment("treatment", "d1", "canary-2", None)})
    unit = next(units_of([late, early]))
    assert (unit.stage, unit.allocation, unit.first_ns) == ("canary-1", 0.05, S)
    assert math.isnan(next(units_of([late])).allocation)


def test_evaluations_become_metrics_under_their_names():
    """Scores are averaged; one that borrows the name of a metric of ours is ignored."""
    scores = (Evaluation("satisfaction", 0.5), Evaluation("satisfaction", 1.0), Evaluation("latency", 99.0))
    unit = next(units_of([run("c", evaluations=scores)]))
    assert unit.values["satisfaction"] == 0.75
    assert unit.values["latency"] == 2.0


def test_runs_without_an_arm_are_no_units():
    """A conversation that no policy enrolled is not compared."""
    assert not list(units_of([run("c", arms={}), run("e", arms={"p": Assignment("", "d1")})]))


def test_memory_is_bounded_and_what_is_forgotten_is_counted():
    """The oldest units and trials go first."""
    table = UnitTable(max_units=10, max_trials=3)
    for index in range(30):
        table.observe(run(f"c{index}", index))
    assert [unit.unit_id for unit in table.units("p", "d1")] == [f"c{index}" for index in range(20, 30)]
    assert table.exclusions("p", "d1").counts == {"forgotten: too many units": 20}
    for index in range(5):
        table.observe(run("c", arms={"p": Assignment("treatment", f"n{index}", "canary-1", 0.5)}))
    assert len(table.trials()) == 3


def test_what_an_earlier_trial_left_out_is_not_counted_against_the_next_one():
    """Of a digest tried again only the new units count, also among those excluded; earlier ones are counted."""
    table = UnitTable()
    faulty = {policy_attribute("p", POLICY_FAULTS): 1}
    for start_s, arm in ((0, "treatment"), (1, "baseline"), (100, "treatment"), (101, "baseline")):
        command = step(StepKind.COMMAND, start_s, attributes=faulty)
        arms = {"p": Assignment(arm, "d1", "canary-1", 0.5)}
        table.observe(Execution(command, (), f"conversation-{start_s // 100}", arms=arms))
    assert table.exclusions("p", "d1").faulted == 2
    later = table.exclusions("p", "d1", since_ns=50 * S)
    assert (later.faulted, later.counts) == (1, {"seen in both arms": 1, "begun before this trial": 1})


def test_users_are_units_where_users_are_allocated():
    """All conversations of one user are one row, with means over all commands; two arms exclude the user."""
    table = UnitTable()
    for number in range(6):
        arm = "baseline" if number == 5 else "treatment"
        arms = {"p": Assignment(arm, "d1", "canary-1", 0.5)}
        user = "anna" if number < 3 else "bert"
        table.observe(run(f"c{number}", number, number + 1, arms=arms, user_id=user))
    (unit,) = table.units("p", "d1", unit="user")
    assert (unit.unit_id, unit.first_ns, unit.values["latency"], unit.values["commands"]) == ("anna", 0, 2.0, 3.0)
    assert table.exclusions("p", "d1", unit="user").counts == {"seen in both arms": 1}
    assert len(list(table.units("p", "d1"))) == 6


def test_processes_are_units_where_processes_are_allocated():
    """All conversations of a process are one row; a process nobody names can never be two arms at once."""
    table = UnitTable()
    for process, arm in (("a", "treatment"), ("b", "baseline")):
        for number in range(3):
            assignment = Assignment(arm, "d1", "canary-1", 0.5, process)
            table.observe(run(f"{process}{number}", number, 2 + number, arms={"p": assignment}))
    units = {unit.arm: unit for unit in table.units("p", "d1", unit="process")}
    assert len(units) == 2
    assert units["treatment"].values["commands"] == 3
    assert units["treatment"].values["latency"] == pytest.approx(3.0)
    for number in range(2):
        arms = {"p": Assignment(("treatment", "baseline")[number], "d2", "canary-1", 0.5)}
        table.observe(run(f"c{number}", arms=arms))
    assert list(table.units("p", "d2", unit="process")) == []
    assert table.exclusions("p", "d2", unit="process").counts == {"seen in both arms": 1}
