"""Where time, tokens and money go: runs in, one row a command, model and tool and the shares of time out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from otel_perfopt import conventions as c
from otel_perfopt.analyse.analysis import Thinking, TimeShare, UsageRow
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.totals import run_cost_usd
from otel_perfopt.analyse.waiting import waits_for_person
from otel_perfopt.execution.critical_path import PathSegment, self_times
from otel_perfopt.execution.model import NO_TOKENS, Execution, Outcome, Step, StepKind, Target, TokenUsage
from otel_perfopt.measure.measurement import Measurement
from otel_perfopt.measure.sql.step_usage import UsageSum

OTHER = "(other)"
UNSTATED_MODEL = "(model not stated)"
AGENT, PERSON = "agent", "person"
_TOOLS = (StepKind.TOOL, StepKind.RETRIEVAL)


@dataclass(slots=True)
class _Row:
    """What is added up for one row."""

    count: int = 0
    errors: int = 0
    estimated: int = 0
    waiting: int = 0
    seconds: Measurement = field(default_factory=Measurement)
    critical_ns: int = 0
    self_ns: int = 0
    tokens: TokenUsage = NO_TOKENS
    cost_usd: float | None = None

    def add(self, step: Step, *, timed: bool, failed: bool) -> None:
        self.count += 1
        self.errors += failed
        self.waiting += waits_for_person(step)
        if timed:
            self.estimated += step.estimated
            self.seconds.add(step.duration_s)
        if step.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + step.cost_usd

    def add_sum(self, found: UsageSum) -> None:
        self.count += found.count
        self.errors += found.failed
        self.waiting += found.count * found.waiting
        self.estimated += found.estimated
        self.seconds.merge(found.seconds)
        self.critical_ns += round(found.total_s * 1e9) if found.kind is None else found.critical_ns
        self.self_ns += found.own_ns
        self.tokens = self.tokens + found.tokens
        if found.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + found.cost_usd


def model_of(step: Step) -> str:
    """Return the model an inference used."""
    return step.target.model or UNSTATED_MODEL


class UsageTable:
    """Adds up runs by command, model and tool; at most 2,000 rows of each, the rest in `(other)`."""

    def __init__(self) -> None:
        self._commands: BoundedTable[str, _Row] = BoundedTable(_Row, overflow=OTHER)
        self._models: BoundedTable[str, _Row] = BoundedTable(_Row, overflow=OTHER)
        self._tools: BoundedTable[str, _Row] = BoundedTable(_Row, overflow=OTHER)
        self._by_kind: Counter[str] = Counter()
        self._thinking = _Row()
        self.run_ns = 0

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        command = self._commands[execution.command.name]
        command.add(execution.command, timed=execution.timed, failed=execution.outcome is Outcome.FAILED)
        rows = [(step, self._row_of(step)) for step in execution.steps]
        for step, row in rows:
            if row is not None:
                row.add(step, timed=execution.timed, failed=step.error_type is not None)
                tokens = _tokens_of(step)
                if tokens is not NO_TOKENS:
                    row.tokens = row.tokens + tokens
        command.tokens = command.tokens + RunView.of(execution).tokens
        cost = run_cost_usd(execution)
        if cost is not None and execution.command.cost_usd is None:
            command.cost_usd = (command.cost_usd or 0.0) + cost
        if execution.timed:
            self._add_times(execution, command, rows)

    def add_sum(self, found: UsageSum) -> None:
        """Take steps or runs into account that a store has added up."""
        row = self._row_of_sum(found)
        if found.kind is None:
            self.run_ns += round(found.total_s * 1e9)
            self._by_kind[AGENT] += found.critical_ns
        else:
            self._by_kind[PERSON if found.waiting else found.kind.value] += found.critical_ns
        if row is not None:
            row.add_sum(found)

    def _row_of_sum(self, found: UsageSum) -> _Row | None:
        if found.kind is None:
            return self._commands[found.name]
        if found.kind is StepKind.INFERENCE:
            return self._models[found.name or UNSTATED_MODEL]
        if found.kind in _TOOLS:
            return self._tools[found.name]
        return self._thinking if found.kind is StepKind.THINKING else None

    def _row_of(self, step: Step) -> _Row | None:
        if step.kind is StepKind.INFERENCE:
            return self._models[model_of(step)]
        if step.kind in _TOOLS:
            return self._tools[step.name]
        return self._thinking if step.kind is StepKind.THINKING else None

    def _add_times(self, execution: Execution, command: _Row, rows: Iterable[tuple[Step, _Row | None]]) -> None:
        run = RunView.of(execution)
        self_ns = self_times(execution, run.tree)
        run_ns = run.tree.root.length_ns
        self.run_ns += run_ns
        command.critical_ns += run_ns
        command.self_ns += self_ns.get(execution.command.span_id, 0)
        for step, row in rows:
            if row is not None:
                row.self_ns += self_ns.get(step.span_id, 0)
        for segment in run.path:
            self._add_segment(segment, execution.command)

    def _add_segment(self, segment: PathSegment, command: Step) -> None:
        step = segment.step
        if step is command:
            self._by_kind[AGENT] += segment.length_ns
        elif waits_for_person(step):
            self._by_kind[PERSON] += segment.length_ns
        else:
            self._by_kind[step.kind.value] += segment.length_ns
        row = self._row_of(step)
        if row is not None:
            row.critical_ns += segment.length_ns

    def commands(self) -> tuple[UsageRow, ...]:
        """Return one row a command, longest total first."""
        return _rows(((Target(command=name), name, row) for name, row in self._commands.rows.items()), self.run_ns)

    def models(self) -> tuple[UsageRow, ...]:
        """Return one row a model, longest total first."""
        return _rows(((Target(model=name), name, row) for name, row in self._models.rows.items()), self.run_ns)

    def tools(self) -> tuple[UsageRow, ...]:
        """Return one row a tool, longest total first."""
        return _rows(((Target(tool=name), name, row) for name, row in self._tools.rows.items()), self.run_ns)

    def time_shares(self) -> tuple[TimeShare, ...]:
        """Return what the critical path is made of, largest first."""
        total = self.run_ns
        return tuple(
            TimeShare(what, spent / 1e9, spent / total)
            for what, spent in self._by_kind.most_common()
            if spent and total
        )

    def thinking(self, tokens: TokenUsage) -> Thinking:
        """Return what thinking took, given all runs' tokens."""
        row, reasoning, output = self._thinking, tokens.reasoning, tokens.output
        seconds = row.seconds.total if row.seconds.count else None
        return Thinking(
            steps=row.count,
            total_s=seconds,
            share_of_time=row.critical_ns / self.run_ns if self.run_ns and row.count else None,
            reasoning_tokens=reasoning,
            share_of_output=reasoning / output if reasoning is not None and output else None,
            estimated_share=row.estimated / row.seconds.count if row.seconds.count else None,
        )


def _tokens_of(step: Step) -> TokenUsage:
    if step.kind is StepKind.INFERENCE:
        return step.tokens
    tokens = step.attributes.get(c.RESULT_TOKENS)
    return TokenUsage(output=int(tokens)) if isinstance(tokens, int | float) else NO_TOKENS


def _rows(parts: Iterable[tuple[Target, str, _Row]], run_ns: int) -> tuple[UsageRow, ...]:
    rows = [_usage_row(target, name, row, run_ns) for target, name, row in parts]
    return tuple(sorted(rows, key=lambda row: (-(row.total_s or 0.0), -row.count, row.name)))


def _usage_row(target: Target, name: str, row: _Row, run_ns: int) -> UsageRow:
    timed = row.seconds.count
    return UsageRow(
        target=target,
        name=name,
        count=row.count,
        errors=row.errors,
        timed=timed,
        estimated=row.estimated,
        p50_s=row.seconds.quantile(0.5),
        p95_s=row.seconds.quantile(0.95),
        mean_s=row.seconds.mean,
        total_s=row.seconds.total if timed else None,
        critical_s=row.critical_ns / 1e9 if timed else None,
        critical_share=row.critical_ns / run_ns if timed and run_ns else None,
        self_s=row.self_ns / 1e9 if timed else None,
        tokens=row.tokens,
        cost_usd=row.cost_usd,
        waiting=row.waiting * 2 > row.count,
    )
