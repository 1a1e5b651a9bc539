"""A comparison kept up with a table says at every moment what one made anew from all units says."""

from __future__ import annotations

import random

import pytest
from guarded_trial import DECISION, PLAN, S, same
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_perfopt.conventions import FAULTS
from otel_perfopt.execution.model import Assignment, Evaluation, Execution, Outcome, Step, StepKind, Target
from otel_perfopt.verify import running_comparison
from otel_perfopt.verify.comparison import Comparison, comparison_of
from otel_perfopt.verify.running_comparison import RunningComparison
from otel_perfopt.verify.units import CONVERSATION, USER, UnitTable

KEY = (DECISION.policy, DECISION.digest)


class Traffic:
    """Runs in every order that telemetry can bring: late ones, conversations that go on, arms mixed up, two stages."""

    def __init__(self, seed: int, talkers: float = 0.2) -> None:
        self.rng, self.talkers = random.Random(seed), talkers
        self.now_s, self.number = 1000, 0
        self.open: list[tuple[str, str, str, float]] = []

    def run(self) -> Execution:
        rng = self.rng
        self.now_s += 1
        if self.open and rng.random() < self.talkers:
            conversation, arm, stage, share = rng.choice(self.open[-40:])
            if rng.random() < 0.02:
                arm = "treatment" if arm == "baseline" else "baseline"
        else:
            self.number += 1
            stage, share = ("canary-1", 0.2) if self.number < 150 else ("canary-2", 0.5)
            arm = "treatment" if rng.random() < share else "baseline"
            conversation = f"c{self.number:05}"
            self.open.append((conversation, arm, stage, share))
        late_s = rng.choice((0, 0, 0, 0, 90, 400)) if rng.random() < 0.1 else 0
        return self._execution(conversation, Assignment(arm, "d", stage, share), self.now_s - late_s)

    def _execution(self, conversation: str, assignment: Assignment, at_s: int) -> Execution:
        rng = self.rng
        seconds = rng.lognormvariate(0, 0.4) * (0.8 if assignment.arm == "treatment" else 1.0)
        start_ns = at_s * S
        command = Step(
            *("t", "s", "", StepKind.COMMAND, "/task", Target(command="/task"), start_ns, start_ns + int(seconds * S)),
            cost_usd=rng.paretovariate(3) * 0.01 if rng.random() < 0.95 else None,
            attributes={FAULTS: 1} if rng.random() < 0.003 else {},
        )
        return Execution(
            command,
            (),
            conversation,
            user_id=f"user-{int(conversation[1:]) % 37}",
            outcome=Outcome.FAILED if rng.random() < 0.06 else Outcome.COMPLETED,
            arms={"p": assignment},
            evaluations=(Evaluation("satisfaction", rng.choice((0.0, 0.5, 1.0))),) if rng.random() < 0.3 else (),
        )


def agree(running: RunningComparison, table: UnitTable, traffic: Traffic, unit: str, since_ns: int = 0) -> None:
    """Hold a running comparison to one made anew."""
    kept = running.follow(table)
    units = list(table.units(*KEY, since_ns, unit))
    anew = comparison_of(DECISION, PLAN, units, table.exclusions(*KEY, since_ns, unit))
    same(kept, anew, traffic.now_s * S)
    assert {one.unit_id: one for one in running.units} == {one.unit_id: one for one in units}


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10_000), st.sampled_from([CONVERSATION, USER]), st.sampled_from([7, 64, 256]))
def test_it_says_what_one_made_anew_says(seed, unit, block):
    """However runs come, and whenever one looks: the same counts, effects, exclusions and conclusion."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running_comparison, "BLOCK_UNITS", block)
        traffic, table, running = Traffic(seed), UnitTable(), RunningComparison(DECISION, PLAN, unit=unit)
        for _ in range(12):
            for _ in range(traffic.rng.randint(1, 80)):
                table.observe(traffic.run())
            agree(running, table, traffic, unit)


def test_units_that_are_forgotten_leave_it():
    """A table that forgets its oldest units, and one that is another's successor, are followed."""
    traffic, table = Traffic(3, talkers=0.0), UnitTable(max_units=120)
    running = RunningComparison(DECISION, PLAN)
    for _ in range(20):
        for _ in range(15):
            table.observe(traffic.run())
        running.follow(table)
        assert {one.unit_id for one in running.units} == {one.unit_id for one in table.units(*KEY)}


def test_judgements_that_come_late_reach_it():
    """A score given long after the run makes its unit's block anew."""
    traffic, table, running = Traffic(5), UnitTable(), RunningComparison(DECISION, PLAN)
    for _ in range(600):
        table.observe(traffic.run())
    agree(running, table, traffic, CONVERSATION)
    for number in range(1, 400, 7):
        table.judge(f"c{number:05}", [Evaluation("satisfaction", 0.0)])
    agree(running, table, traffic, CONVERSATION)


def test_only_what_began_in_the_trial_and_stage_counts():
    """Units from before the trial are left out; of one stage alone, only its units are compared."""
    traffic, table = Traffic(7), UnitTable()
    running = RunningComparison(DECISION, PLAN, since_ns=1200 * S)
    second = RunningComparison(DECISION, PLAN, stage="canary-2")
    for _ in range(800):
        table.observe(traffic.run())
    agree(running, table, traffic, CONVERSATION, since_ns=1200 * S)
    compared = second.follow(table)
    expected = [unit for unit in table.units(*KEY) if unit.stage == "canary-2"]
    assert sum(compared.units) == len(expected) == len(second.units)


def test_a_look_costs_what_changed(monkeypatch):
    """With twenty thousand units known, ten more runs have no more than some blocks' units observed again."""
    traffic, table, running = Traffic(11, talkers=0.0), UnitTable(), RunningComparison(DECISION, PLAN)
    for _ in range(20_000):
        table.observe(traffic.run())
    running.follow(table)
    observed = []
    real = Comparison.observe
    monkeypatch.setattr(Comparison, "observe", lambda self, unit: (observed.append(unit), real(self, unit)))
    for _ in range(10):
        table.observe(traffic.run())
    running.follow(table)
    assert len(running.units) == len(list(table.units(*KEY)))
    assert 0 < len(observed) <= 3 * running_comparison.BLOCK_UNITS
