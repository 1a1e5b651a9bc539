"""The runs of the last hour in; how they went, and how they would have gone without optimizations, out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from statistics import fmean

from otel_perfopt.decide.allocation import TREATMENT
from otel_perfopt.decide.state import State
from otel_perfopt.execution.model import Execution, Outcome, Step, StepKind

WINDOW_S = 3600.0
MAX_RUNS = 20_000


@dataclass(frozen=True, slots=True)
class _Run:
    end_ns: int
    command: str
    conversation: str
    treated: bool
    values: Mapping[str, float]


class RecentRuns:
    """A sliding window of finished runs, bounded in time and number.

    The reference is what the same commands take where no policy treats them (the baseline arm, the
    hold-back, runs no policy is about), weighted by how often each command runs: another mix of
    commands is no improvement. It describes; whether a policy is the cause is what its verdict says.
    """

    def __init__(self, window_s: float = WINDOW_S, max_runs: int = MAX_RUNS) -> None:
        self._window_ns = int(window_s * 1e9)
        self._runs: deque[_Run] = deque(maxlen=max_runs)

    def observe(self, execution: Execution) -> None:
        """Take one finished run into account."""
        command = execution.command
        treated = any(one.arm == TREATMENT and one.stage != str(State.SHADOW) for one in execution.arms.values())
        self._runs.append(_Run(command.end_ns, command.name, execution.conversation_id, treated, _values(execution)))

    def forget_before(self, now_ns: int) -> None:
        """Drop what has left the window."""
        while self._runs and self._runs[0].end_ns < now_ns - self._window_ns:
            self._runs.popleft()

    def current(self, goal: str) -> float | None:
        """Return the mean over all runs that state it; None where none does."""
        values = [run.values[goal] for run in self._runs if goal in run.values]
        return fmean(values) if values else None

    def reference(self, goal: str) -> float | None:
        """Return the mean of untreated runs at today's mix of commands; None where every run is treated.

        A command without an untreated run stands with its own mean: no improvement is claimed of it.
        """
        untreated: dict[str, list[float]] = {}
        everyone: dict[str, list[float]] = {}
        for run in self._runs:
            value = run.values.get(goal)
            if value is not None:
                everyone.setdefault(run.command, []).append(value)
                if not run.treated:
                    untreated.setdefault(run.command, []).append(value)
        if not untreated:
            return None
        total = sum(len(values) for values in everyone.values())
        return sum(fmean(untreated.get(name, values)) * len(values) for name, values in everyone.items()) / total

    def conversations_per_s(self, commands: tuple[str, ...]) -> float | None:
        """Return how many new conversations a second use one of the commands (globs; empty: any); None for too few."""
        found: dict[str, int] = {}
        for run in self._runs:
            if not commands or any(fnmatchcase(run.command, pattern) for pattern in commands):
                found.setdefault(run.conversation, run.end_ns)
        moments = sorted(found.values())
        if len(moments) < 2 or moments[-1] == moments[0]:
            return None
        return (len(moments) - 1) * 1e9 / (moments[-1] - moments[0])


def _values(execution: Execution) -> dict[str, float]:
    """Return what one run says of each goal; what it does not state is absent."""
    found: dict[str, float] = {}
    if execution.timed:
        found["response_time"] = execution.duration_s
        for goal, kind in (("thinking_time", StepKind.THINKING), ("tool_time", StepKind.TOOL)):
            steps = execution.of_kind(kind)
            if steps:
                found[goal] = _covered_s(steps)
    tokens = execution.tokens.total
    if tokens is not None:
        found["tokens"] = float(tokens)
    if execution.outcome in {Outcome.COMPLETED, Outcome.FAILED}:
        found["success"] = float(execution.outcome is Outcome.COMPLETED)
    scores = [one.score for one in execution.evaluations if one.score is not None]
    if scores:
        found["satisfaction"] = fmean(scores)
    return found


def _covered_s(steps: tuple[Step, ...]) -> float:
    """Return how long at least one of the steps was under way."""
    total, until = 0, 0
    for step in sorted(steps, key=lambda one: one.start_ns):
        total += max(0, step.end_ns - max(until, step.start_ns))
        until = max(until, step.end_ns)
    return total / 1e9
