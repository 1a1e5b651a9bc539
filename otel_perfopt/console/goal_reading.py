"""The performance goals as they stand: recent runs and targets in, current, target and improvement of each out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from otel_perfopt.loop.performance_goals import GoalTarget
from otel_perfopt.loop.recent_runs import RecentRuns
from otel_perfopt.report.wording import UNKNOWN, count, seconds, share

Write = Callable[[float | None], str]


@dataclass(frozen=True, slots=True)
class GoalReading:
    """One goal, written for people; `reached` is how far from the reference to the target it is (0 to 1), None unknown.

    `asked` is the improvement that the goal wants and `achieved` what there is of it, both over the runs that
    nobody optimizes; `met` says that the current value is at the target or beyond.
    """

    name: str
    current: str
    target: str
    reference: str
    asked: str
    achieved: str
    reached: float | None
    met: bool


def _score(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}"


# What each goal is called and how its value is written; in the order of the dashboard.
GOALS: Mapping[str, tuple[str, Write]] = {
    "response_time": ("Response time", seconds),
    "tokens": ("Tokens a run", count),
    "success": ("Success rate", share),
    "satisfaction": ("User satisfaction", _score),
    "thinking_time": ("Thinking time", seconds),
    "tool_time": ("Tool time", seconds),
}


def goal_readings(runs: RecentRuns, targets: Mapping[str, GoalTarget]) -> tuple[GoalReading, ...]:
    """Return every goal; a value that no recent run states is a dash."""
    return tuple(_reading(goal, runs, targets[goal]) for goal in GOALS)


def _reading(goal: str, runs: RecentRuns, target: GoalTarget) -> GoalReading:
    name, write = GOALS[goal]
    current, reference = runs.current(goal), runs.reference(goal)
    wanted = target.target(reference)
    achieved, asked = target.improvement(reference, current), target.asked(reference)
    return GoalReading(
        name=name,
        current=write(current),
        target=write(wanted),
        reference=write(reference),
        asked=_improvement(asked, target),
        achieved=_improvement(achieved, target),
        reached=min(1.0, max(0.0, achieved / asked)) if achieved is not None and asked else None,
        met=_met(current, wanted, higher_is_better=target.higher_is_better),
    )


def _improvement(value: float | None, target: GoalTarget) -> str:
    return f"{100 * value:.1f} pp" if value is not None and target.absolute else share(value)


def _met(current: float | None, wanted: float | None, *, higher_is_better: bool) -> bool:
    if current is None or wanted is None:
        return False
    return current >= wanted if higher_is_better else current <= wanted
