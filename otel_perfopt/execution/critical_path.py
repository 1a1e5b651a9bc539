"""What a run's end waited on: an `Execution` in, its critical path and the self time of every step out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from otel_perfopt.execution.model import Execution, Step
from otel_perfopt.execution.step_tree import StepNode, StepTree, step_tree


@dataclass(frozen=True, slots=True)
class PathSegment:
    """A stretch of time (Unix ns) in which the run's end waited on `step` itself."""

    step: Step
    start_ns: int
    end_ns: int

    @property
    def length_ns(self) -> int:
        """How long the stretch is."""
        return self.end_ns - self.start_ns


def critical_path(execution: Execution, tree: StepTree | None = None) -> tuple[PathSegment, ...]:
    """Return the segments on the critical path, in order of time; together they are the command's time exactly.

    Walking back from a step's end, the child that finished last before that moment is what was
    waited on; then the one that finished last before it began, and so on. Between them the step
    itself is. A child still running when the next began is passed over, since that one did not wait
    for it, except when its reply asked for the next (a call started while the reply still streams).
    """
    root = (tree or step_tree(execution)).root
    return tuple(_forward(root))


def _forward(root: StepNode) -> Iterator[PathSegment]:
    pending: list[tuple[StepNode, int, int, bool]] = [(root, root.start_ns, root.end_ns, True)]
    while pending:
        node, start, end, whole = pending.pop()
        if not whole or not node.children:
            if start < end:
                yield PathSegment(node.step, start, end)
            continue
        pending.extend(_backward(node, start, end))


def _backward(node: StepNode, start_ns: int, end_ns: int) -> Iterator[tuple[StepNode, int, int, bool]]:
    """Yield the parts of a step's window, last first: children in whole, and gaps that are the step's own."""
    cursor = end_ns
    asker = ""
    for child in sorted(node.children, key=_finish, reverse=True):
        streamed = child.step.span_id == asker and child.start_ns < cursor
        if child.end_ns > cursor and not streamed:
            continue
        finish = min(child.end_ns, cursor)
        begin = max(child.start_ns, start_ns)
        if begin >= finish:
            continue
        yield node, finish, cursor, False
        yield child, begin, finish, True
        cursor = begin
        asker = child.step.requested_by
    yield node, start_ns, cursor, False


def _finish(node: StepNode) -> tuple[int, int, str]:
    return node.end_ns, -node.start_ns, node.step.span_id


def self_times(execution: Execution, tree: StepTree | None = None) -> Mapping[str, int]:
    """Return by span id the ns of each step's time in which none of its children ran."""
    trees = tree or step_tree(execution)
    times: dict[str, int] = {}
    for root in (*trees.around, trees.root):
        for node in root.descendants():
            children = node.children
            covered = union_ns((child.start_ns, child.end_ns) for child in children) if children else 0
            times[node.step.span_id] = node.end_ns - node.start_ns - covered
    return times


def union_ns(intervals: Iterable[tuple[int, int]]) -> int:
    """Return the length of the union of intervals."""
    total = 0
    reached: int | None = None
    for start, end in sorted(intervals):
        if reached is None or start > reached:
            total += max(0, end - start)
            reached = end if reached is None else max(reached, end)
        elif end > reached:
            total += end - reached
            reached = end
    return total
