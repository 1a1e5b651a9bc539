"""The tree of one run's steps inside the command's time: an `Execution` in, cut intervals and children out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from otel_perfopt.execution.model import Execution, Step


@dataclass(frozen=True, slots=True)
class StepNode:
    """A step with the part of its time that lies inside its parent's, and its children ordered by start, then end."""

    step: Step
    start_ns: int
    end_ns: int
    children: list[StepNode] = field(default_factory=list)

    @property
    def length_ns(self) -> int:
        """How long the step took inside its parent."""
        return self.end_ns - self.start_ns

    def descendants(self) -> Iterator[StepNode]:
        """Yield this node and everything below it, parents first."""
        pending = [self]
        while pending:
            node = pending.pop()
            yield node
            pending.extend(reversed(node.children))


@dataclass(frozen=True, slots=True)
class StepTree:
    """One run's steps: `root` is the command, `around` are trees of steps outside it (a server's request span)."""

    root: StepNode
    around: tuple[StepNode, ...]


def step_tree(execution: Execution) -> StepTree:
    """Arrange a run's steps.

    A step whose parent is not in the run, or that hangs in a cycle, is taken to be the command's
    child. A child's time is cut to its parent's: clocks of two machines differ, and a parent waits
    for nothing beyond its own end. In `around` the command appears once more, as a leaf.
    """
    command = execution.command
    steps = {step.span_id: step for step in execution.steps if step.span_id != command.span_id}
    enclosing = _enclosing(command, steps)
    above = set(enclosing)
    children: dict[str, list[Step]] = {}
    for step in steps.values():
        parent = step.parent_span_id
        if step.span_id not in above:
            known = parent in steps and parent != step.span_id
            children.setdefault(parent if known else command.span_id, []).append(step)
    _cut_cycles(command.span_id, steps, enclosing, children)
    root = _grow(command, children)
    return StepTree(root, tuple(_around(command, enclosing, steps, children)))


def _enclosing(command: Step, steps: dict[str, Step]) -> list[str]:
    """Return the steps above the command, innermost first; none when the chain comes back to the command."""
    above: dict[str, None] = {}
    parent = command.parent_span_id
    while parent in steps and parent not in above:
        above[parent] = None
        parent = steps[parent].parent_span_id
    return [] if parent and (parent == command.span_id or parent in above) else list(above)


def _around(
    command: Step, enclosing: list[str], steps: dict[str, Step], children: dict[str, list[Step]]
) -> Iterator[StepNode]:
    if enclosing:
        inner = command
        below = {span_id: found for span_id, found in children.items() if span_id != command.span_id}
        for span_id in enclosing:
            below[span_id] = [*children.get(span_id, ()), inner]
            inner = steps[span_id]
        yield _grow(inner, below)


def _cut_cycles(command_id: str, steps: dict[str, Step], enclosing: list[str], children: dict[str, list[Step]]) -> None:
    reached = _reached([command_id, *enclosing], children)
    for step in steps.values():
        if step.span_id not in reached:
            siblings = children[step.parent_span_id]
            siblings.remove(step)
            children.setdefault(command_id, []).append(step)
            reached |= _reached([step.span_id], children)


def _reached(roots: list[str], children: dict[str, list[Step]]) -> set[str]:
    reached: set[str] = set()
    pending = list(roots)
    while pending:
        span_id = pending.pop()
        if span_id not in reached:
            reached.add(span_id)
            pending.extend(child.span_id for child in children.get(span_id, ()))
    return reached


def _grow(step: Step, children: dict[str, list[Step]]) -> StepNode:
    root = StepNode(step, step.start_ns, max(step.start_ns, step.end_ns))
    pending = [root]
    while pending:
        node = pending.pop()
        for child in children.get(node.step.span_id, ()):
            start = min(max(child.start_ns, node.start_ns), node.end_ns)
            end = min(max(child.end_ns, start), node.end_ns)
            node.children.append(StepNode(child, start, end))
        if len(node.children) > 1:
            node.children.sort(key=lambda found: (found.start_ns, found.end_ns, found.step.span_id))
        pending.extend(node.children)
    return root
