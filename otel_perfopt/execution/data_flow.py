"""Which tool call needs which earlier one: an `Execution` in, dependencies and independent pairs of calls out."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from otel_perfopt.execution.effect_order import EffectOrder, may_write
from otel_perfopt.execution.model import Execution, Step, StepKind
from otel_perfopt.execution.value_flow import ValueFlow

NOTHING: frozenset[str] = frozenset()


def dependencies(execution: Execution, known: frozenset[str] = NOTHING) -> Mapping[str, frozenset[str]]:
    """Return by tool span id the earlier tool span ids it depends on.

    A call depends on one that ended before it began if a specific value among its inputs was first
    seen in the other's outputs, or if their effects keep an order (`EffectOrder`). Values of the
    command, those in `known` (of earlier runs in the conversation) and those the model used before
    are no dependency. A value of unknown origin may have come from any call whose outputs are not
    all listed. Calls that overlapped in the recording do not depend on one another: they ran.
    """
    tools = execution.of_kind(StepKind.TOOL)
    asked = NOTHING.union(*(step.inputs for step in tools))
    flow = ValueFlow(known | execution.command.inputs | execution.command.outputs, asked)
    order = EffectOrder()
    found: dict[str, frozenset[str]] = {}
    running: list[tuple[int, int]] = []
    for index, step in enumerate(tools):
        while running and running[0][0] <= step.start_ns:
            ended = tools[heapq.heappop(running)[1]]
            flow.ended(ended, found[ended.span_id])
            order.ended(ended, found[ended.span_id])
        found[step.span_id] = frozenset(flow.needed(step) | order.must_follow(step))
        heapq.heappush(running, (step.end_ns, index))
    return found


@dataclass(frozen=True, slots=True)
class AdjacentReads:
    """Two read-only calls, one right after the other, asked for by different replies.

    `independent` says that the second uses nothing from the first's result, so that a reply could
    have asked for both: an upper bound, since the model may have needed the result to decide.
    """

    first: Step
    second: Step
    independent: bool


def adjacent_reads(
    execution: Execution, depends: Mapping[str, frozenset[str]] | None = None
) -> tuple[AdjacentReads, ...]:
    """Return the run's adjacent read-only calls of different replies, in order."""
    needs = dependencies(execution) if depends is None else depends
    return tuple(
        AdjacentReads(first, second, first.span_id not in needs[second.span_id])
        for first, second in pairwise(execution.of_kind(StepKind.TOOL))
        if not may_write(first) and not may_write(second) and _asked_later(first, second)
    )


def independent_adjacent_pairs(
    execution: Execution, depends: Mapping[str, frozenset[str]] | None = None
) -> tuple[tuple[Step, Step], ...]:
    """Return those adjacent read-only calls of different replies of which the second uses nothing of the first."""
    return tuple((pair.first, pair.second) for pair in adjacent_reads(execution, depends) if pair.independent)


def _asked_later(first: Step, second: Step) -> bool:
    different = first.requested_by != second.requested_by or not first.requested_by
    return different and first.end_ns <= second.start_ns
