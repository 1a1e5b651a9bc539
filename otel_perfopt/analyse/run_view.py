"""One run with what is derived from it, each derived once: an `Execution` in, its tree, order and data flow out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from otel_perfopt.execution.critical_path import PathSegment, critical_path
from otel_perfopt.execution.data_flow import AdjacentReads, adjacent_reads, dependencies
from otel_perfopt.execution.model import Execution, Step, StepKind, TokenUsage
from otel_perfopt.execution.repetition import Repetition, repetition
from otel_perfopt.execution.schedule import Changes, ReplayedRun, replay
from otel_perfopt.execution.step_tree import StepTree, step_tree

Derived = TypeVar("Derived")

# Tools by which a model writes down its thoughts: prose about results, of which no shared value need show.
_THINKING_TOOLS = frozenset({"think", "thinking", "thought", "sequentialthinking", "reflect"})


def _thinks(step: Step) -> bool:
    return step.name.rpartition("__")[2].lower().replace("_", "") in _THINKING_TOOLS


class RunView:
    """A run and, once somebody asks, its step tree, its tool calls and which of them needs which."""

    _latest: ClassVar[RunView | None] = None

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self._derived: dict[Any, Any] = {}

    @classmethod
    def of(cls, execution: Execution) -> RunView:
        """Return the view of a run, the same one as long as everybody asks about that run before the next."""
        latest = cls._latest
        if latest is None or latest.execution is not execution:
            latest = cls._latest = cls(execution)
        return latest

    def derive(self, what: Callable[[Execution], Derived]) -> Derived:
        """Return what a function makes of the run, made once however many ask for it."""
        if what not in self._derived:
            self._derived[what] = what(self.execution)
        found: Derived = self._derived[what]
        return found

    @cached_property
    def repetition(self) -> Repetition:
        """What the run asked again: of its conversation where an analyser knows that, else of itself."""
        return repetition(self.execution)

    @cached_property
    def tokens(self) -> TokenUsage:
        """The sum over the run's model calls."""
        return self.execution.tokens

    @cached_property
    def inferences(self) -> tuple[Step, ...]:
        """The run's model calls in order of start."""
        return self.execution.of_kind(StepKind.INFERENCE)

    @cached_property
    def calls(self) -> tuple[Step, ...]:
        """The run's tool calls and retrievals in order of start."""
        kinds = (StepKind.TOOL, StepKind.RETRIEVAL)
        return tuple(step for step in self.execution.steps if step.kind in kinds)

    @cached_property
    def tree(self) -> StepTree:
        """The run's steps as a tree."""
        return step_tree(self.execution)

    @cached_property
    def depends(self) -> Mapping[str, frozenset[str]]:
        """By tool span id the earlier tool span ids it depends on."""
        return dependencies(self.execution)

    @cached_property
    def adjacent_reads(self) -> tuple[AdjacentReads, ...]:
        """The run's read-only calls right after another one of an earlier reply; thinking aloud reads nothing."""
        pairs = adjacent_reads(self.execution, self.depends)
        return tuple(pair for pair in pairs if not (_thinks(pair.first) or _thinks(pair.second)))

    @cached_property
    def tools(self) -> tuple[Step, ...]:
        """The run's tool calls in order of start."""
        return self.execution.of_kind(StepKind.TOOL)

    @cached_property
    def replies(self) -> Mapping[str, tuple[Step, ...]]:
        """By inference span id the tool calls its reply asked for, where that is known."""
        asked: dict[str, list[Step]] = {}
        for step in self.tools:
            if step.requested_by:
                asked.setdefault(step.requested_by, []).append(step)
        return {span_id: tuple(steps) for span_id, steps in asked.items()}

    @cached_property
    def critical_ns(self) -> Mapping[str, int]:
        """By span id the time the run's end waited on that step itself."""
        waited: Counter[str] = Counter()
        for segment in self.path:
            waited[segment.step.span_id] += segment.length_ns
        return waited

    @cached_property
    def path(self) -> tuple[PathSegment, ...]:
        """The segments of the run's critical path, in order of time."""
        return critical_path(self.execution, self.tree)

    def waited_ns(self, steps: Iterable[Step]) -> int:
        """Return the time on the critical path that these steps have together: no speed-up of them saves more."""
        return sum(self.critical_ns.get(step.span_id, 0) for step in steps)

    def replay(self, changes: Changes) -> ReplayedRun:
        """Return the run as it would have been with `changes`."""
        return replay(self.execution, changes, tree=self.tree, depends=self.depends)
