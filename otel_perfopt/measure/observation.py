"""What one run adds to each metric: an `Execution` in, single values by metric, target and kind out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from otel_perfopt.execution.critical_path import critical_path, self_times
from otel_perfopt.execution.model import Execution, Outcome, Step, StepKind, Target, TokenUsage
from otel_perfopt.execution.step_tree import step_tree
from otel_perfopt.measure import metric as m


class Observation(NamedTuple):
    """One value of one metric, in the metric's unit."""

    metric: str
    target: Target
    kind: StepKind
    value: float


def observations(execution: Execution) -> Iterator[Observation]:
    """Yield what one run adds to each metric: once for every step, and for the run as a whole (kind `command`).

    A command inside the run is a step of kind `other`. Times are left out where the source has no
    clock, and what a source does not state is left out, never zero.
    """
    for step in execution.steps:
        kind = _inner_kind(step)
        yield Observation(m.ERRORS, step.target, kind, float(step.error_type is not None))
        yield from _tokens(step.target, kind, step.tokens)
        if step.cost_usd is not None:
            yield Observation(m.COST, step.target, kind, step.cost_usd)
    yield from _whole(execution)
    if execution.timed:
        yield from _times(execution)


def _inner_kind(step: Step) -> StepKind:
    return StepKind.OTHER if step.kind is StepKind.COMMAND else step.kind


def _whole(execution: Execution) -> Iterator[Observation]:
    target, kind = execution.command.target, StepKind.COMMAND
    yield Observation(m.ERRORS, target, kind, float(execution.outcome is Outcome.FAILED))
    yield Observation(m.TOOL_CALLS, target, kind, len(execution.of_kind(StepKind.TOOL)))
    yield Observation(m.MODEL_CALLS, target, kind, len(execution.of_kind(StepKind.INFERENCE)))
    yield from _tokens(target, kind, execution.tokens)
    costs = [step.cost_usd for step in (execution.command, *execution.steps) if step.cost_usd is not None]
    if costs:
        yield Observation(m.COST, target, kind, sum(costs))


def _tokens(target: Target, kind: StepKind, tokens: TokenUsage) -> Iterator[Observation]:
    stated = (
        (m.TOKENS_INPUT, tokens.input),
        (m.TOKENS_OUTPUT, tokens.output),
        (m.TOKENS_CACHE_READ, tokens.cache_read),
        (m.TOKENS_CACHE_WRITE, tokens.cache_write),
        (m.TOKENS_REASONING, tokens.reasoning),
        (m.TOKENS_RESENT, tokens.resent),
        (m.INPUT_WITH_CACHE_READ, None if tokens.cache_read is None else tokens.input),
        (m.INPUT_WITH_RESENT, None if tokens.resent is None else tokens.input),
        (m.OUTPUT_WITH_REASONING, None if tokens.reasoning is None else tokens.output),
    )
    for name, value in stated:
        if value is not None:
            yield Observation(name, target, kind, value)


def _times(execution: Execution) -> Iterator[Observation]:
    tree = step_tree(execution)
    own_ns = self_times(execution, tree)
    critical_ns: dict[str, int] = {}
    for segment in critical_path(execution, tree):
        span_id = segment.step.span_id
        critical_ns[span_id] = critical_ns.get(span_id, 0) + segment.length_ns
    thinking_ns = 0
    for step in (execution.command, *execution.steps):
        whole = step is execution.command
        kind = StepKind.COMMAND if whole else _inner_kind(step)
        yield Observation(m.DURATION, step.target, kind, step.duration_s)
        yield Observation(m.SELF_TIME, step.target, kind, own_ns.get(step.span_id, 0) / 1e9)
        critical = critical_ns.get(step.span_id, 0)
        thinking_ns += critical if step.kind is StepKind.THINKING else 0
        yield Observation(m.CRITICAL_PATH, step.target, kind, critical / 1e9)
    yield Observation(m.THINKING_TIME, execution.command.target, StepKind.COMMAND, thinking_ns / 1e9)
