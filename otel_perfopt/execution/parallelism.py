"""How much a run's steps overlapped and could have: an `Execution` in, reached and possible speed-ups out."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from otel_perfopt.execution.critical_path import union_ns
from otel_perfopt.execution.data_flow import dependencies
from otel_perfopt.execution.model import Execution, Step, StepKind
from otel_perfopt.execution.step_tree import StepNode, StepTree, step_tree

_WORK = frozenset({StepKind.TOOL, StepKind.INFERENCE, StepKind.RETRIEVAL, StepKind.MODULE_LOAD, StepKind.THINKING})
_ALONE = {kind: frozenset({kind}) for kind in _WORK}
_NOTHING: frozenset[StepKind] = frozenset()


@dataclass(frozen=True, slots=True)
class Overlap:
    """Times in ns of a set of steps; sums over runs are taken field by field.

    `busy_ns` is the sum of their times and `elapsed_ns` the union of their intervals.
    `within_replies_ns` is the shortest schedule in which only calls of one reply are reordered,
    `across_replies_ns` the one in which calls wait for nothing but what they depend on: a bound,
    since the model would have to ask for them at once.
    """

    busy_ns: int = 0
    elapsed_ns: int = 0
    within_replies_ns: int = 0
    across_replies_ns: int = 0

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(
            self.busy_ns + other.busy_ns,
            self.elapsed_ns + other.elapsed_ns,
            self.within_replies_ns + other.within_replies_ns,
            self.across_replies_ns + other.across_replies_ns,
        )

    @property
    def reached(self) -> float | None:
        """The speed-up over one step after the other that was had (1 = none); None without any time."""
        return self._speed_up(self.elapsed_ns)

    @property
    def possible_within_replies(self) -> float | None:
        """The speed-up that running calls of one reply together would give; None without any time."""
        return self._speed_up(self.within_replies_ns)

    @property
    def upper_bound_across_replies(self) -> float | None:
        """The speed-up that no schedule that respects data flow and effects can exceed; None without any time."""
        return self._speed_up(self.across_replies_ns)

    def _speed_up(self, elapsed_ns: int) -> float | None:
        return self.busy_ns / elapsed_ns if elapsed_ns else None


@dataclass(frozen=True, slots=True)
class RunParallelism:
    """The overlap of a run's tool calls, and of all its innermost steps (model calls included)."""

    tools: Overlap
    leaves: Overlap


def parallelism(
    execution: Execution, *, tree: StepTree | None = None, depends: Mapping[str, frozenset[str]] | None = None
) -> RunParallelism:
    """Return how much the run's steps overlapped and could have.

    Turns of the model stay one after another. Within replies, a call waits for what an earlier
    reply asked for and for what it depends on; across replies, among all steps, for the first
    turn that could have asked for it. Steps that overlapped in the recording never wait for one
    another, so what is possible is at least what was reached.
    """
    needs = dependencies(execution) if depends is None else depends
    tools, leaves = _innermost((tree or step_tree(execution)).root)
    return RunParallelism(_overlap(tools, needs), _overlap(leaves, needs))


def tool_overlap(
    execution: Execution, *, tree: StepTree | None = None, depends: Mapping[str, frozenset[str]] | None = None
) -> Overlap:
    """Return the overlap of the run's tool calls alone, as `parallelism` gives it beside that of all steps."""
    needs = dependencies(execution) if depends is None else depends
    return _overlap(_innermost((tree or step_tree(execution)).root)[0], needs)


def _innermost(root: StepNode) -> tuple[list[Step], list[Step]]:
    """Return the tool calls without a tool call inside, and the steps of work without work inside.

    Thinking inside a model call is part of that call, not a step beside it.
    """
    tools: list[Step] = []
    leaves: list[Step] = []
    parts: set[str] = set()
    held: dict[str, AbstractSet[StepKind]] = {}  # kinds of work in each step
    for node in reversed(list(root.descendants())):
        step = node.step
        if not node.children:
            held[step.span_id] = _ALONE.get(step.kind, _NOTHING)
            if step.kind is StepKind.TOOL:
                tools.append(step)
            if step.kind in _WORK:
                leaves.append(step)
            continue
        inside = set[StepKind]().union(*(held[child.step.span_id] for child in node.children))
        inference = step.kind is StepKind.INFERENCE
        if step.kind is StepKind.TOOL and StepKind.TOOL not in inside:
            tools.append(step)
        if step.kind in _WORK and not (inside - {StepKind.THINKING} if inference else inside):
            leaves.append(step)
        held[step.span_id] = inside | {step.kind} if step.kind in _WORK else inside
        if inference:
            parts.update(child.step.span_id for child in node.children if child.step.kind is StepKind.THINKING)
    return tools, [step for step in leaves if step.span_id not in parts]


def _overlap(steps: Iterable[Step], needs: Mapping[str, frozenset[str]]) -> Overlap:
    ordered = sorted(steps, key=lambda step: (step.start_ns, step.end_ns, step.span_id))
    within = _Within()
    across = _Across()
    return Overlap(
        busy_ns=sum(_length(step) for step in ordered),
        elapsed_ns=union_ns((step.start_ns, step.end_ns) for step in ordered),
        within_replies_ns=_shortest(ordered, needs, within.earliest, within.ended),
        across_replies_ns=_shortest(ordered, needs, across.earliest, across.ended),
    )


def _shortest(
    ordered: Sequence[Step],
    needs: Mapping[str, frozenset[str]],
    earliest: Callable[[Step, int], int],
    ended: Callable[[Step, int], None],
) -> int:
    """Return when the last step ends if each starts as soon as what it waits for has ended.

    `earliest(step, needed)` gives the start when its dependencies end at `needed`; `ended(step,
    finish)` is told of every step that had ended, in the recording, before the next one began.
    """
    finishes: dict[str, int] = {}
    running: list[tuple[int, int]] = []
    for index, step in enumerate(ordered):
        while running and running[0][0] <= step.start_ns:
            done = ordered[heapq.heappop(running)[1]]
            ended(done, finishes[done.span_id])
        needed = max([0, *(finishes.get(span_id, 0) for span_id in needs.get(step.span_id, ()))])
        finishes[step.span_id] = earliest(step, needed) + _length(step)
        heapq.heappush(running, (step.end_ns, index))
    return max(finishes.values(), default=0)


def _length(step: Step) -> int:
    return max(0, step.end_ns - step.start_ns)


class _Within:
    """A step waits for everything that ended before it, except other calls of its own reply."""

    def __init__(self) -> None:
        self._latest = (0, "")
        self._latest_of_another = (0, "")

    def earliest(self, step: Step, needed_ns: int) -> int:
        own = step.requested_by and step.requested_by == self._latest[1]
        return max(needed_ns, self._latest_of_another[0] if own else self._latest[0])

    def ended(self, step: Step, finish_ns: int) -> None:
        reply = step.requested_by
        if reply and reply == self._latest[1]:
            self._latest = max(self._latest, (finish_ns, reply))
        elif finish_ns >= self._latest[0]:
            self._latest_of_another = self._latest
            self._latest = (finish_ns, reply)
        else:
            self._latest_of_another = max(self._latest_of_another, (finish_ns, reply))


class _Across:
    """A call waits for the first turn that could have asked for it; anything else for all that ended before it."""

    def __init__(self) -> None:
        self._latest_ns = 0
        self._turns: list[tuple[int, int]] = []  # start and end of each turn of the model, in the new schedule

    def earliest(self, step: Step, needed_ns: int) -> int:
        if step.kind is not StepKind.TOOL:
            return max(needed_ns, self._latest_ns)
        position = bisect_left(self._turns, (needed_ns, 0))
        return max(needed_ns, self._turns[position][1]) if position < len(self._turns) else needed_ns

    def ended(self, step: Step, finish_ns: int) -> None:
        if step.kind is StepKind.INFERENCE:
            insort(self._turns, (finish_ns - _length(step), finish_ns))
        self._latest_ns = max(self._latest_ns, finish_ns)
