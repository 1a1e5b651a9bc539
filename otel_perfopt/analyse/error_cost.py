"""What errors cost: runs in, one row an error type and target with the time and tokens lost to it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from otel_perfopt.analyse.analysis import ErrorRow
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.usage_table import OTHER, model_of
from otel_perfopt.analyse.waiting import waits_for_person
from otel_perfopt.execution.model import Execution, Step, StepKind, Target

_CALLS = (StepKind.TOOL, StepKind.RETRIEVAL, StepKind.INFERENCE)


@dataclass(slots=True)
class _Loss:
    count: int = 0
    retries: int = 0
    timed: int = 0
    lost_ns: int = 0
    lost_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class FailedCall:
    """One failed call and what it took: its own time and that of the model call that had to read about it."""

    step: Step
    retried: bool
    lost_ns: int
    lost_tokens: int | None


def failed_calls(execution: Execution) -> list[FailedCall]:
    """Return the run's failed calls.

    A reply that read about several failures is charged once, to the first; waits for a person are
    nobody's loss; only output tokens are lost, for the input is sent again in any case.
    """
    charged: set[str] = set()
    failures: list[FailedCall] = []
    calls = [step for step in execution.steps if step.kind in _CALLS]
    for place, step in enumerate(calls):
        if step.error_type is None:
            continue
        # How long a person took to refuse is not lost to the tool's failure.
        lost = 0 if waits_for_person(step) else max(0, step.end_ns - step.start_ns)
        tokens = step.tokens.output
        reader = _reader(calls, place)
        if reader is not None and reader.span_id not in charged and step.kind is not StepKind.INFERENCE:
            charged.add(reader.span_id)
            lost += max(0, reader.end_ns - reader.start_ns)
            tokens = reader.tokens.output if tokens is None else tokens + (reader.tokens.output or 0)
        failures.append(FailedCall(step, _retried(calls, place), lost, tokens))
    return failures


def _reader(calls: list[Step], place: int) -> Step | None:
    failed = calls[place]
    for step in calls[place + 1 :]:
        if step.kind is StepKind.INFERENCE and step.start_ns >= failed.end_ns:
            return step
    return None


def _retried(calls: list[Step], place: int) -> bool:
    # The next call that is not a model's: the same tool tried again.
    failed = calls[place]
    wanted = (StepKind.INFERENCE,) if failed.kind is StepKind.INFERENCE else (StepKind.TOOL, StepKind.RETRIEVAL)
    following = next((step for step in calls[place + 1 :] if step.kind in wanted), None)
    return following is not None and following.name == failed.name


def error_target(step: Step) -> Target:
    """Return whose error it is: the tool's, or the model's."""
    return _model(model_of(step)) if step.kind is StepKind.INFERENCE else _tool(step.name)


@lru_cache(maxsize=512)
def _model(name: str) -> Target:
    return Target(model=name)


@lru_cache(maxsize=512)
def _tool(name: str) -> Target:
    return Target(tool=name)


def call_counts(execution: Execution) -> Mapping[Target, int]:
    """Return how many calls the run made of each target."""
    named = Counter(
        (step.kind is StepKind.INFERENCE, model_of(step) if step.kind is StepKind.INFERENCE else step.name)
        for step in execution.steps
        if step.kind in _CALLS
    )
    return {_model(name) if model else _tool(name): count for (model, name), count in named.items()}


class ErrorCost:
    """Adds up failed calls by error type and target; at most 2,000 rows, the rest in `(other)`."""

    def __init__(self) -> None:
        overflow = (OTHER, Target(tool=OTHER))
        self._losses: BoundedTable[tuple[str, Target], _Loss] = BoundedTable(_Loss, overflow=overflow)
        self._calls: Counter[Target] = Counter()

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        for target, count in RunView.of(execution).derive(call_counts).items():
            if len(self._calls) < 5000 or target in self._calls:
                self._calls[target] += count
        for failure in RunView.of(execution).derive(failed_calls):
            loss = self._losses[failure.step.error_type or OTHER, error_target(failure.step)]
            loss.count += 1
            loss.retries += failure.retried
            if execution.timed:
                loss.timed += 1
                loss.lost_ns += failure.lost_ns
            if failure.lost_tokens is not None:
                loss.lost_tokens = (loss.lost_tokens or 0) + failure.lost_tokens

    def scaled(self, counts: Mapping[tuple[str, Target], int], calls: Mapping[Target, int]) -> tuple[ErrorRow, ...]:
        """Return the rows for all calls, given how many failed and were made: what each lost is as in the runs observed."""
        rows = []
        for (error_type, target), count in counts.items():
            loss = self._losses.rows.get((error_type, target), _Loss())
            times = count / loss.count if loss.count else 0.0
            rows.append(
                ErrorRow(
                    error_type=error_type,
                    target=target,
                    count=count,
                    share_of_calls=count / calls[target] if calls.get(target) else None,
                    retries=round(loss.retries * times),
                    lost_s=loss.lost_ns / 1e9 * times if loss.timed else None,
                    lost_tokens=round(loss.lost_tokens * times) if loss.lost_tokens is not None else None,
                )
            )
        return _costliest_first(rows)

    def result(self) -> tuple[ErrorRow, ...]:
        """Return the rows, costliest first."""
        rows = [
            ErrorRow(
                error_type=error_type,
                target=target,
                count=loss.count,
                share_of_calls=loss.count / self._calls[target] if self._calls[target] else None,
                retries=loss.retries,
                lost_s=loss.lost_ns / 1e9 if loss.timed else None,
                lost_tokens=loss.lost_tokens,
            )
            for (error_type, target), loss in self._losses.rows.items()
        ]
        return _costliest_first(rows)


def _costliest_first(rows: list[ErrorRow]) -> tuple[ErrorRow, ...]:
    return tuple(sorted(rows, key=lambda row: (-(row.lost_s or 0.0), -row.count, row.error_type, str(row.target))))
