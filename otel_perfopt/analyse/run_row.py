"""One run as a row to compare with others: an `Execution` in, its size, outcome and what it shares with others out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from zlib import crc32

from otel_perfopt import conventions as c
from otel_perfopt.analyse.error_cost import failed_calls
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.totals import run_cost_usd
from otel_perfopt.analyse.usage_table import model_of
from otel_perfopt.analyse.waiting import waits_for_person
from otel_perfopt.execution.model import Execution, Outcome, Step, StepKind

MAX_ROWS = 20_000
MAX_TOOLS = 12
MAX_TRAITS = 40
MAX_TEXT = 60
_NO_TRAITS = frozenset(
    {c.STEP_KIND, c.COMMAND_NAME, c.COMMAND_OUTCOME, c.GEN_AI_OPERATION_NAME, c.GEN_AI_CONVERSATION_ID}
)


@dataclass(frozen=True, slots=True)
class RunRow:
    """What comparisons of runs need.

    `seconds` is None without a clock; `plain_s` leaves out what other detectors explain (waits for
    people, failed calls, safe repeats). `patterns` are orders of steps, `traits` anything else that
    runs may share; `model` and `effort` are those of most model calls.
    """

    conversation: int
    command: str
    trace_id: str
    span_id: str
    location: str
    succeeded: bool
    seconds: float | None
    plain_s: float | None
    cost_usd: float | None
    model: str
    effort: str
    patterns: frozenset[str]
    traits: frozenset[str]


def run_row(execution: Execution) -> RunRow:
    """Return the run's row."""
    run = RunView.of(execution)
    seconds = execution.duration_s if execution.timed and execution.duration_s > 0 else None
    models = Counter(model_of(step) for step in run.inferences)
    efforts = Counter(_text(step, c.GEN_AI_REQUEST_REASONING_LEVEL) for step in run.inferences)
    model = models.most_common(1)[0][0] if models else ""
    return RunRow(
        conversation=crc32(execution.conversation_id.encode("utf-8", "replace")),
        command=execution.command.name,
        trace_id=execution.trace_id,
        span_id=execution.command.span_id,
        location=execution.location,
        succeeded=execution.outcome is Outcome.COMPLETED,
        seconds=seconds,
        plain_s=None if seconds is None else max(seconds * 1e-3, seconds - _explained_s(run)),
        cost_usd=run_cost_usd(execution),
        model=model,
        effort=efforts.most_common(1)[0][0] if efforts else "",
        patterns=frozenset(_patterns(run)),
        traits=frozenset(_traits(run, model)),
    )


def _explained_s(run: RunView) -> float:
    people = sum(run.critical_ns.get(step.span_id, 0) for step in run.execution.steps if waits_for_person(step))
    failed = sum(failure.lost_ns for failure in run.derive(failed_calls))
    repeats = sum(run.critical_ns.get(repeat.step.span_id, 0) for repeat in run.repetition.repeats if repeat.safe)
    return (people + failed + repeats) / 1e9


def _patterns(run: RunView) -> Iterator[str]:
    """Yield which tools' first calls came before which, what follows what, and whether calls were asked for together."""
    first: dict[str, int] = {}
    for place, step in enumerate(run.calls):
        first.setdefault(step.name, place)
    names = list(first)[:MAX_TOOLS]
    for place, before in enumerate(names):
        for after in names[place + 1 :]:
            yield f"{before}\t<\t{after}"
    for one, other in pairwise(run.calls[: 4 * MAX_TOOLS]):
        if one.name != other.name:
            yield f"{one.name}\t>\t{other.name}"
    if any(len(asked) > 1 for asked in run.replies.values()):
        yield "together"


def _traits(run: RunView, model: str) -> Iterator[str]:
    execution = run.execution
    target = execution.command.target
    stated = {"model": model, "service": target.service, "agent": target.agent, "user": execution.user_id}
    yield from (f"{name} {value}" for name, value in stated.items() if value)
    moment = datetime.fromtimestamp(execution.command.start_ns / 1e9, tz=timezone.utc)
    yield f"{moment:%H}:00 to {moment:%H}:59 UTC"
    yield f"{moment:%A}"
    yield from (f"{policy} {assignment.arm}" for policy, assignment in execution.arms.items())
    yield from sorted({f"tool {step.name}" for step in run.calls})[:MAX_TOOLS]
    if any(step.kind is StepKind.MODULE_LOAD for step in execution.steps):
        yield "module loads"
    traits = 0
    for name, value in execution.command.attributes.items():
        if name in _NO_TRAITS or not isinstance(value, str | bool) or len(str(value)) > MAX_TEXT:
            continue
        traits += 1
        if traits <= MAX_TRAITS:
            yield f"{name}={value}"


def _text(step: Step, name: str) -> str:
    value = step.attributes.get(name)
    return value if isinstance(value, str) else ""


class RunRows:
    """Rows in bounded memory: beyond 20,000 only whole conversations are kept, every second, fourth, … by hash."""

    def __init__(self) -> None:
        self.kept: list[RunRow] = []
        self._mask = 0

    def add(self, row: RunRow) -> None:
        """Keep a row."""
        if row.conversation & self._mask:
            return
        self.kept.append(row)
        if len(self.kept) > MAX_ROWS:
            self._mask = self._mask * 2 + 1
            self.kept = [known for known in self.kept if not known.conversation & self._mask]

    def by_command(self) -> dict[str, list[RunRow]]:
        """Return the rows of each command."""
        found: dict[str, list[RunRow]] = {}
        for row in self.kept:
            found.setdefault(row.command, []).append(row)
        return found


def log_seconds(row: RunRow) -> float:
    """Return the logarithm of the run's seconds; only for rows that have some."""
    return math.log(row.seconds or 1e-9)
