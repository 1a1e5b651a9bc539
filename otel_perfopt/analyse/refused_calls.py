"""Calls refused for their rate, with what was lost until one got through: a run in, refusals by target out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from otel_perfopt.analyse.error_cost import error_target
from otel_perfopt.analyse.rate_limited import is_rate_limited
from otel_perfopt.execution.model import Execution, Step, StepKind, Target

_CALLS = (StepKind.TOOL, StepKind.RETRIEVAL, StepKind.INFERENCE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused call; `next_call` is the target's next one in the run (None: given up).

    `lost_ns` is the call's own time and the wait until the next call of the target began, as far as
    no other step of the run was running then.
    """

    step: Step
    target: Target
    next_call: Step | None
    lost_ns: int


def refusals(execution: Execution) -> tuple[Refusal, ...]:
    """Return the run's refused calls in order of start."""
    refused = [step for step in execution.steps if step.kind in _CALLS and is_rate_limited(step)]
    return tuple(_refusals(execution, refused)) if refused else ()


def _refusals(execution: Execution, refused: list[Step]) -> Iterator[Refusal]:
    calls = [step for step in execution.steps if step.kind in _CALLS]
    for step in refused:
        target = error_target(step)
        later = (other for other in calls if other.start_ns >= step.end_ns and other is not step)
        following = next((other for other in later if error_target(other) == target), None)
        waited = 0 if following is None else _idle_ns(calls, step.end_ns, following.start_ns)
        yield Refusal(step, target, following, max(0, step.end_ns - step.start_ns) + waited)


def _idle_ns(calls: list[Step], start_ns: int, end_ns: int) -> int:
    """Return the time between two moments in which none of the calls was running."""
    idle, reached = 0, start_ns
    for step in calls:
        if step.start_ns >= end_ns:
            break
        if step.end_ns > reached:
            idle += max(0, min(step.start_ns, end_ns) - reached)
            reached = max(reached, step.end_ns)
    return idle + max(0, end_ns - reached)
