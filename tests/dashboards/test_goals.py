"""Goals as people declare them, and runs as they are measured against them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_perfopt.errors import InvalidFileError
from otel_perfopt.execution.model import Assignment, Evaluation, Execution, Outcome, Step, StepKind, Target, TokenUsage
from otel_perfopt.loop.performance_goals import GOALS_FILE, GoalTarget, read_goals
from otel_perfopt.loop.recent_runs import RecentRuns

SECOND = 1_000_000_000


def step(kind, start_s, seconds, name="/task", **more):
    start_ns = int(start_s * SECOND)
    return Step("t", "s", "", kind, name, Target(), start_ns, start_ns + int(seconds * SECOND), **more)


def run(number, seconds, *, command="/task", treated=False, stage="canary-1", steps=(), failed=False, score=None):
    return Execution(
        step(StepKind.COMMAND, number, seconds, command, tokens=TokenUsage(100, 20)),
        tuple(steps),
        f"c-{number}",
        outcome=Outcome.FAILED if failed else Outcome.COMPLETED,
        arms={"p": Assignment("treatment", stage=stage)} if treated else {},
        evaluations=(Evaluation("feedback", score),) if score is not None else (),
    )


def test_without_a_file_the_goals_are_the_specifications(tmp_path):
    """Response time 30 % less, tokens 20 % less, success 3 points and satisfaction 7 % more."""
    goals = read_goals(tmp_path)
    assert goals["response_time"].target(2.0) == pytest.approx(1.4)
    assert goals["tokens"].target(45_000) == pytest.approx(36_000)
    assert goals["success"].target(0.92) == pytest.approx(0.95)
    assert goals["satisfaction"].target(4.2) == pytest.approx(4.494)
    assert goals["thinking_time"].target(1.0) == pytest.approx(0.75)
    assert goals["tool_time"].target(1.0) == pytest.approx(0.65)


def test_a_file_changes_what_it_names(tmp_path):
    """A value to reach needs no reference; what is not named keeps its default."""
    text = "apiVersion: perfopt.dev/v1\nkind: PerformanceGoals\nspec:\n  responseTime: {reach: 1.5}\n  success: {improve: 5pp}\n"
    (tmp_path / GOALS_FILE).write_text(text)
    goals = read_goals(tmp_path)
    assert goals["response_time"].target(None) == 1.5
    assert goals["success"].target(0.9) == pytest.approx(0.95)
    assert goals["tokens"].target(100) == pytest.approx(80)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spec: {responseTime: {reach: 1, improve: 30%}}", "needs either improve"),
        ("spec: {respnseTime: {reach: 1}}", "unknown key"),
        ("spec: {tokens: {improve: 20}}", "no margin"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, said):
    """As for policies: file, line, column, field and remedy."""
    (tmp_path / GOALS_FILE).write_text(f"apiVersion: perfopt.dev/v1\nkind: PerformanceGoals\n{text}\n")
    with pytest.raises(InvalidFileError, match=said) as caught:
        read_goals(tmp_path)
    assert f"{GOALS_FILE}:3:" in str(caught.value)


@settings(deadline=None)
@given(
    reference=st.floats(0.01, 1000),
    improve=st.floats(0.0, 0.9),
    higher=st.booleans(),
)
def test_who_reaches_the_target_improved_by_what_was_asked(reference, improve, higher):
    """Target and improvement are two ways to say the same."""
    goal = GoalTarget(higher, improve)
    assert goal.improvement(reference, goal.target(reference)) == pytest.approx(improve, abs=1e-9)
    assert goal.improvement(reference, reference) == 0


def test_a_share_is_never_asked_to_be_more_than_all():
    """A target in points ends at 100 %, and nothing is asked where it is reached."""
    goal = GoalTarget(higher_is_better=True, improve=0.03, absolute=True)
    assert goal.target(0.99) == 1.0
    assert goal.asked(1.0) == 0.0
    assert GoalTarget(higher_is_better=True, reach=0.9).asked(0.95) == 0.0


def test_another_mix_of_commands_is_no_improvement():
    """Slow commands that become rarer change the mean, not the reference's comparison with it."""
    runs = RecentRuns()
    for number in range(10):
        runs.observe(run(number, 4.0, command="/slow"))
    for number in range(10, 100):
        runs.observe(run(number, 1.0, command="/fast"))
    assert runs.current("response_time") == pytest.approx(1.3)
    assert runs.reference("response_time") == pytest.approx(1.3)


def test_what_treatment_saves_is_what_is_achieved():
    """Half of the runs treated at half the time: a quarter less; a command that is all treated claims nothing."""
    runs = RecentRuns()
    for number in range(20):
        runs.observe(run(number, 1.0 if number % 2 else 2.0, treated=bool(number % 2)))
    for number in range(20, 30):
        runs.observe(run(number, 5.0, command="/always", treated=True))
    assert runs.reference("response_time") == pytest.approx((20 * 2.0 + 10 * 5.0) / 30)
    assert runs.current("response_time") == pytest.approx((20 * 1.5 + 10 * 5.0) / 30)


def test_shadow_treats_nobody():
    """Runs in shadow are part of the reference."""
    runs = RecentRuns()
    runs.observe(run(1, 2.0, treated=True, stage="shadow"))
    assert runs.reference("response_time") == 2.0


def test_what_nobody_states_is_not_zero():
    """A goal without data has no value, not a zero; an all-treated window has no reference."""
    runs = RecentRuns()
    assert runs.current("response_time") is None
    runs.observe(run(1, 2.0, treated=True))
    assert runs.current("satisfaction") is None
    assert runs.current("thinking_time") is None
    assert runs.reference("response_time") is None


def test_steps_that_overlap_count_once():
    """Tool time is the time in which at least one tool works."""
    runs = RecentRuns()
    tools = [step(StepKind.TOOL, 1.0, 1.0), step(StepKind.TOOL, 1.5, 1.0), step(StepKind.TOOL, 4.0, 0.5)]
    runs.observe(run(1, 4.0, steps=tools, failed=True, score=4.0))
    assert runs.current("tool_time") == pytest.approx(2.0)
    assert runs.current("success") == 0.0
    assert runs.current("satisfaction") == 4.0
    assert runs.current("tokens") == 120


def test_the_window_slides_and_is_bounded():
    """What is older than the window or beyond its size is forgotten; the rate is of what is left."""
    runs = RecentRuns(window_s=50.0, max_runs=80)
    for number in range(100):
        runs.observe(run(number, 0.0))
    runs.forget_before(100 * SECOND)
    assert runs.conversations_per_s(("/task",)) == pytest.approx(1.0)
    assert runs.conversations_per_s(("/other",)) is None
    assert len(runs._runs) == 50
