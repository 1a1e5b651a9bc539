"""Runs become units: `Execution`s in, one `Unit` a conversation and policy out."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from otel_perfopt.conventions import (
    COMMAND_MEMORY,
    FAULTS,
    POLICY_FAULTS,
    PREFERENCE,
    PROCESS_START_TIME,
    USER_ROLES,
    USER_SEGMENT,
    policy_attribute,
)
from otel_perfopt.decide.allocation import BASELINE, TREATMENT
from otel_perfopt.execution.model import Assignment, Evaluation, Execution, Outcome, StepKind
from otel_perfopt.signal.preference import known_preference
from otel_perfopt.verify import metric_kind
from otel_perfopt.verify.verdict import Unit

CONVERSATION = "conversation"
USER = "user"
PROCESS = "process"
MAX_UNITS = 100_000
MAX_TRIALS = 64
MAX_EVALUATIONS = 16
MAX_SEGMENT_CHARS = 64
_PRICED = frozenset({StepKind.INFERENCE, StepKind.TOOL, StepKind.RETRIEVAL})
_MEANS = (metric_kind.LATENCY, metric_kind.TOKENS, metric_kind.COST_USD)
_ANY = (metric_kind.TASK_FAILURE, metric_kind.INTERRUPTED, metric_kind.TOOL_ERROR, metric_kind.FAULT)
_INCOMPLETE = frozenset({metric_kind.TASK_FAILURE, metric_kind.INTERRUPTED})
_OURS = frozenset(
    {
        *_MEANS,
        *_ANY,
        metric_kind.COMPLETION,
        metric_kind.LATENCY_P95_EXCEED,
        metric_kind.LATENCY_SPREAD,
        metric_kind.MEMORY,
        metric_kind.START_TIME,
        "commands",
    }
)
# Evaluators' own names for what policies call by one name; `feedback()` says "feedback" unless told otherwise.
_SAME_SCORE = {
    "feedback": metric_kind.SATISFACTION,
    "user_satisfaction": metric_kind.SATISFACTION,
    "user_feedback": metric_kind.SATISFACTION,
    "answer_relevance": metric_kind.RELEVANCE,
    "answer_relevancy": metric_kind.RELEVANCE,
    "correctness": metric_kind.ACCURACY,
    "answer_correctness": metric_kind.ACCURACY,
}
# Who the user is to the host, where it says so; a role is a segment as good as any (semantic conventions: user.*).
_SEGMENT_ATTRIBUTES = (USER_SEGMENT, USER_ROLES)


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Units of one trial that cannot be compared, by reason, and how many of them had a fault of ours."""

    counts: Mapping[str, int] = field(default_factory=dict)
    faulted: int = 0


@dataclass(slots=True)
class _Row:
    stage: str
    arm: str
    allocation: float
    first_ns: int
    user_id: str = ""
    segment: str = ""
    preference: str = ""
    unit: str = ""
    mixed: bool = False
    changed: int = 0
    commands: int = 0
    events: set[str] = field(default_factory=set)
    sums: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, metric: str, value: float | None) -> None:
        if value is not None:
            total, count = self.sums.get(metric, (0.0, 0))
            self.sums[metric] = (total + value, count + 1)

    def judge(self, evaluations: Iterable[Evaluation]) -> None:
        """Take in scores; one below zero, as a thumb down may be, counts as zero."""
        for evaluation in evaluations:
            name = score_name(evaluation.name)
            known = name in self.sums or len(self.sums) < len(_MEANS) + 1 + MAX_EVALUATIONS
            if evaluation.score is not None and name and name not in _OURS and known:
                self.add(name, max(0.0, evaluation.score))

    def join(self, other: _Row) -> None:
        """Take in another conversation of the same user or process."""
        self.mixed |= other.mixed or other.arm != self.arm
        self.changed = max(self.changed, other.changed)
        if other.first_ns < self.first_ns:
            self.first_ns, self.stage, self.allocation = other.first_ns, other.stage, other.allocation
            self.segment, self.preference = other.segment, other.preference
        self.commands += other.commands
        self.events |= other.events
        for metric, (more, number) in other.sums.items():
            total, count = self.sums.get(metric, (0.0, 0))
            self.sums[metric] = (total + more, count + number)

    def comparable(self, since_ns: int) -> bool:
        return not self.mixed and self.first_ns >= since_ns

    def unit_of(self, unit_id: str, policy: str, digest: str) -> Unit:
        first = (self.stage, self.arm, self.allocation, self.first_ns)
        return Unit(unit_id, policy, digest, *first, self.values(), self.user_id, self.segment, self.preference)

    def values(self) -> dict[str, float]:
        means = {metric: total / count for metric, (total, count) in self.sums.items()}
        events = {metric: float(metric in self.events) for metric in _ANY}
        events[metric_kind.COMPLETION] = 0.0 if _INCOMPLETE & self.events else 1.0
        return {**means, **events, "commands": float(self.commands)}


@dataclass(slots=True)
class _Trial:
    rows: OrderedDict[str, _Row] = field(default_factory=OrderedDict)
    forgotten: Counter[str] = field(default_factory=Counter)
    revision: int = 0


def score_name(name: str) -> str:
    """Return the metric that an evaluation of this name is: lower case, one word, evaluators' synonyms as one."""
    plain = "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())
    return _SAME_SCORE.get(plain, plain)


class UnitTable:
    """Units of all policies, fed one run at a time, each run once.

    A run counts for every policy whose arm it carries. Values are means over the conversation's
    eligible commands (`latency` in seconds, `tokens`, `cost_usd`, `memory` in bytes), each evaluation's
    score under its name (`feedback` is `satisfaction`), `commands`, and 0 or 1 for `task_failure` (any command failed), `interrupted` (or abandoned),
    `tool_error`, `fault` and `completion`. Another digest is another trial and starts anew. Bounded: the
    oldest units, and the trials seen longest ago, are forgotten and counted.
    """

    def __init__(self, max_units: int = MAX_UNITS, max_trials: int = MAX_TRIALS) -> None:
        self._trials: OrderedDict[tuple[str, str], _Trial] = OrderedDict()
        self._observed = 0
        self._joined: dict[tuple[str, str, str], tuple[int, Mapping[str, _Row]]] = {}
        self._max_units = max_units
        self._max_trials = max_trials

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        for policy, assignment in execution.arms.items():
            if assignment.arm in (TREATMENT, BASELINE):
                self._observe(policy, assignment, execution)

    def judge(self, conversation_id: str, evaluations: Iterable[Evaluation]) -> None:
        """Take in scores that came when the run they are about was read already; of unknown ones nothing is kept."""
        given = tuple(evaluations)
        for trial in self._trials.values():
            row = trial.rows.get(conversation_id)
            if row is not None:
                row.judge(given)
                self._observed += 1
                trial.revision = row.changed = self._observed

    def state(self) -> Mapping[str, Any]:
        """Return every unit's running sums, as data from which another table goes on."""
        return {"trials": self._trials, "observed": self._observed}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Go on where another table stood."""
        self._trials, self._observed = state["trials"], int(state["observed"])
        self._joined.clear()

    def revision(self, policy: str, digest: str) -> int:
        """Return a number that changes whenever anything about one trial does."""
        trial = self._trials.get((policy, digest))
        return trial.revision if trial else 0

    def trials(self) -> tuple[tuple[str, str], ...]:
        """Return the (policy, digest) pairs that have units, the latest last."""
        return tuple(self._trials)

    def units(self, policy: str, digest: str, since_ns: int = 0, unit: str = CONVERSATION) -> Iterator[Unit]:
        """Yield the comparable units of one trial that began at `since_ns` or later, in the order they were first seen.

        `unit` is what was allocated: rows of what was allocated together are one, or chance would pass for evidence.
        """
        for unit_id, row in self._allocated(policy, digest, unit).items():
            if row.comparable(since_ns):
                yield row.unit_of(unit_id, policy, digest)

    def changes(
        self, policy: str, digest: str, after: int, since_ns: int = 0, unit: str = CONVERSATION
    ) -> Iterator[tuple[str, Unit | None]]:
        """Yield the id of every unit about which something changed after the revision `after`, and the unit.

        None stands for one that `units` leaves out.
        """
        for unit_id, row in self._allocated(policy, digest, unit).items():
            if row.changed > after:
                yield unit_id, row.unit_of(unit_id, policy, digest) if row.comparable(since_ns) else None

    def forgotten(self, policy: str, digest: str, ids: Iterable[str], unit: str = CONVERSATION) -> Sequence[str]:
        """Return which of the units are known no more."""
        rows = self._allocated(policy, digest, unit)
        return [unit_id for unit_id in ids if unit_id not in rows]

    def exclusions(self, policy: str, digest: str, since_ns: int = 0, unit: str = CONVERSATION) -> Exclusions:
        """Return what `units` leaves out: conversations seen in both arms, earlier ones and forgotten ones."""
        trial = self._trials.get((policy, digest))
        if trial is None:
            return Exclusions()
        rows = self._allocated(policy, digest, unit).values()
        mixed = [row for row in rows if row.mixed and row.first_ns >= since_ns]
        counts = Counter(trial.forgotten)
        counts["seen in both arms"] += len(mixed)
        counts["begun before this trial"] += sum(row.first_ns < since_ns for row in rows)
        return Exclusions(+counts, faulted=sum(metric_kind.FAULT in row.events for row in mixed))

    def _allocated(self, policy: str, digest: str, unit: str) -> Mapping[str, _Row]:
        """Return the rows of what was allocated; joined once for all who ask until something changes."""
        trial = self._trials.get((policy, digest))
        if trial is None:
            return {}
        if unit not in {USER, PROCESS}:
            return trial.rows
        key = (policy, digest, unit)
        known = self._joined.get(key)
        if known is None or known[0] != trial.revision:
            self._joined.pop(key, None)
            known = self._joined[key] = (trial.revision, _together(trial, unit))
            while len(self._joined) > self._max_trials:
                self._joined.pop(next(iter(self._joined)))
        return known[1]

    def _observe(self, policy: str, assignment: Assignment, execution: Execution) -> None:
        trial = self._trials.setdefault((policy, assignment.digest), _Trial())
        self._trials.move_to_end((policy, assignment.digest))
        self._observed += 1
        trial.revision = self._observed
        if len(self._trials) > self._max_trials:
            self._trials.popitem(last=False)
        row = trial.rows.get(execution.conversation_id)
        if row is None:
            row = trial.rows[execution.conversation_id] = _new_row(assignment, execution)
            if len(trial.rows) > self._max_units:
                trial.rows.popitem(last=False)
                trial.forgotten["forgotten: too many units"] += 1
        row.mixed |= row.arm != assignment.arm
        if execution.command.start_ns < row.first_ns:
            row.first_ns, row.stage, row.allocation = _start(assignment, execution)
            row.segment = _segment(execution) or row.segment
            row.preference = _preference(execution) or row.preference
        row.changed = self._observed
        _count(row, policy, execution)


def _together(trial: _Trial, unit: str) -> Mapping[str, _Row]:
    together: dict[str, _Row] = {}
    for row in trial.rows.values():
        allocated = row.user_id if unit == USER else row.unit
        joined = together.get(allocated)
        if joined is None:
            together[allocated] = replace(row, events=set(row.events), sums=dict(row.sums))
        else:
            joined.join(row)
    return together


def units_of(executions: Iterable[Execution]) -> Iterator[Unit]:
    """Yield the comparable units of every policy and digest in `executions`."""
    table = UnitTable()
    for execution in executions:
        table.observe(execution)
    for policy, digest in table.trials():
        yield from table.units(policy, digest)


def _start(assignment: Assignment, execution: Execution) -> tuple[int, str, float]:
    allocation = float("nan") if assignment.allocation is None else assignment.allocation
    return execution.command.start_ns, assignment.stage, allocation


def _new_row(assignment: Assignment, execution: Execution) -> _Row:
    first_ns, stage, allocation = _start(assignment, execution)
    known = (execution.user_id, _segment(execution), _preference(execution), assignment.unit)
    return _Row(stage, assignment.arm, allocation, first_ns, *known)


def _segment(execution: Execution) -> str:
    """Return the segment that the host names on the command's span; of several roles the first."""
    for name in _SEGMENT_ATTRIBUTES:
        value = execution.command.attributes.get(name)
        first = value[0] if isinstance(value, list | tuple) and value else value
        if isinstance(first, str) and first:
            return first[:MAX_SEGMENT_CHARS]
    return ""


def _preference(execution: Execution) -> str:
    return known_preference(execution.command.attributes.get(PREFERENCE))


def _count(row: _Row, policy: str, execution: Execution) -> None:
    row.commands += 1
    row.add(metric_kind.LATENCY, execution.duration_s if execution.timed else None)
    row.add(metric_kind.TOKENS, execution.tokens.total)
    row.add(metric_kind.COST_USD, cost_usd(execution))
    row.add(metric_kind.MEMORY, _number(execution.command.attributes.get(COMMAND_MEMORY)))
    row.add(metric_kind.START_TIME, _number(execution.command.attributes.get(PROCESS_START_TIME)))
    row.events.update(_events(policy, execution))
    row.judge(execution.evaluations)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def cost_usd(execution: Execution) -> float | None:
    """Return what a run cost, None where nothing in it has a price."""
    # Priced once, on the leaves: an enclosing step may repeat what its calls cost.
    costs = [step.cost_usd for step in execution.steps if step.kind in _PRICED and step.cost_usd is not None]
    return sum(costs) if costs else execution.command.cost_usd


def _events(policy: str, execution: Execution) -> Iterator[str]:
    of_policy = policy_attribute(policy, POLICY_FAULTS)
    if execution.outcome is Outcome.FAILED:
        yield metric_kind.TASK_FAILURE
    if execution.outcome in (Outcome.INTERRUPTED, Outcome.ABANDONED):
        yield metric_kind.INTERRUPTED
    for step in (execution.command, *execution.steps):
        if step.kind is StepKind.TOOL and step.error_type is not None:
            yield metric_kind.TOOL_ERROR
        if step.attributes.get(FAULTS) or step.attributes.get(of_policy):
            yield metric_kind.FAULT
