"""How much there was: runs in, counts, window, tokens and cost out."""

from __future__ import annotations

from otel_perfopt.analyse.analysis import Counts, InputTally
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.execution.model import NO_TOKENS, Execution, Outcome, StepKind, TokenUsage, ToolEffects
from otel_perfopt.measure.sql.step_usage import UsageSum
from otel_perfopt.signal.source import ReadTally


class Totals:
    """Counts runs and calls; of conversations it remembers only 8-byte hashes."""

    def __init__(self) -> None:
        self._runs = self._timed = self._failed = self._interrupted = 0
        self._inferences = self._tool_calls = self._tool_errors = self._unknown_effects = 0
        self._conversations: set[int] = set()
        self._seconds = 0.0
        self._stated_conversations: int | None = None
        self._first: int | None = None
        self._last = 0
        self.tokens: TokenUsage = NO_TOKENS
        self.cost_usd: float | None = None

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        self._runs += 1
        self._conversations.add(hash(execution.conversation_id))
        self._failed += execution.outcome is Outcome.FAILED
        self._interrupted += execution.outcome is Outcome.INTERRUPTED
        for step in execution.steps:
            self._inferences += step.kind is StepKind.INFERENCE
            if step.kind in (StepKind.TOOL, StepKind.RETRIEVAL):
                self._tool_calls += 1
                self._tool_errors += step.error_type is not None
                self._unknown_effects += step.effects is ToolEffects.UNKNOWN
        self.tokens = self.tokens + RunView.of(execution).tokens
        cost = run_cost_usd(execution)
        if cost is not None:
            self.cost_usd = (self.cost_usd or 0.0) + cost
        if execution.timed:
            self._add_times(execution)

    def add_sum(self, found: UsageSum) -> None:
        """Take steps or runs into account that a store has added up."""
        if found.kind is StepKind.INFERENCE:
            self._inferences += found.count
        elif found.kind in (StepKind.TOOL, StepKind.RETRIEVAL):
            self._tool_calls += found.count
            self._tool_errors += found.failed
            self._unknown_effects += found.count * found.unknown_effects
        elif found.kind is None:
            self._add_runs(found)

    def state_conversations(self, count: int) -> None:
        """Say how many conversations there were, where a store has counted them."""
        self._stated_conversations = count

    def _add_runs(self, found: UsageSum) -> None:
        self._runs += found.count
        self._timed += found.count
        self._failed += found.count * (found.outcome == Outcome.FAILED.value)
        self._interrupted += found.count * (found.outcome == Outcome.INTERRUPTED.value)
        self._seconds += found.total_s
        self._first = found.begun_ns if self._first is None else min(self._first, found.begun_ns)
        self._last = max(self._last, found.ended_ns)
        self.tokens = self.tokens + found.tokens
        if found.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + found.cost_usd

    def _add_times(self, execution: Execution) -> None:
        self._timed += 1
        self._seconds += execution.duration_s
        start, end = execution.command.start_ns, execution.command.end_ns
        self._first = start if self._first is None else min(self._first, start)
        self._last = max(self._last, end)

    def counts(self) -> Counts:
        """Return the counts."""
        return Counts(
            runs=self._runs,
            timed_runs=self._timed,
            failed_runs=self._failed,
            interrupted_runs=self._interrupted,
            conversations=len(self._conversations)
            if self._stated_conversations is None
            else self._stated_conversations,
            inferences=self._inferences,
            tool_calls=self._tool_calls,
            tool_errors=self._tool_errors,
            unknown_effects=self._unknown_effects,
            run_time_s=self._seconds if self._timed else None,
        )

    def window_ns(self) -> tuple[int, int] | None:
        """Return first start and last end of the runs with a clock."""
        return None if self._first is None else (self._first, self._last)


def run_cost_usd(execution: Execution) -> float | None:
    """Return what a run cost: as its command says, else the sum of what its steps say; None where nobody says."""
    if execution.command.cost_usd is not None:
        return execution.command.cost_usd
    costs = [step.cost_usd for step in execution.steps if step.cost_usd is not None]
    return sum(costs) if costs else None


def input_tally(tally: ReadTally) -> InputTally:
    """Return an unchanging copy of what the source counted."""
    return InputTally(
        files=tally.files,
        lines=tally.lines,
        bytes=tally.bytes,
        spans=tally.spans,
        problem_counts=dict(tally.problem_counts),
        problems=tuple(tally.problems),
    )
