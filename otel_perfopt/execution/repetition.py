"""What was asked again: the runs of conversations in, repeated calls, re-read resources and retries out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from otel_perfopt.execution.effect_order import ANYTHING, may_meet, may_write, touched
from otel_perfopt.execution.model import Execution, Step, StepKind

_Key = TypeVar("_Key")

MAX_CONVERSATIONS = 256
MAX_CALLS = 4096  # remembered of one conversation
MAX_WRITTEN = 256  # distinct written resources remembered of one conversation


@dataclass(frozen=True, slots=True)
class Repeat:
    """A read-only call with the tool and arguments of an earlier one that had succeeded.

    `safe` says that nothing that ran in between may have written what it reads, so that the earlier
    answer still held; `same_result` compares the results, None where a digest is missing.
    """

    step: Step
    earlier: Step
    safe: bool
    same_result: bool | None


@dataclass(frozen=True, slots=True)
class Reread:
    """A read of a resource that had been read before, with whatever arguments (another part of a file)."""

    step: Step
    earlier: Step
    written_between: bool


@dataclass(frozen=True, slots=True)
class Retry:
    """The next call of a tool after one that failed."""

    step: Step
    failed: Step
    same_arguments: bool


@dataclass(frozen=True, slots=True)
class Repetition:
    """What a run asked again, and of how much: tool calls, read-only ones, and reads that name a resource."""

    calls: int
    read_calls: int
    resource_reads: int
    repeats: tuple[Repeat, ...]
    rereads: tuple[Reread, ...]
    retries: tuple[Retry, ...]


def repetition(execution: Execution) -> Repetition:
    """Return what one run asked again, looking at that run alone."""
    return ConversationMemory().observe(execution)


class Repetitions:
    """Compares each run with the earlier ones of its conversation; the least recent conversations are forgotten."""

    def __init__(self, max_conversations: int = MAX_CONVERSATIONS) -> None:
        self._max = max_conversations
        self._memories: OrderedDict[str, ConversationMemory] = OrderedDict()

    def observe(self, execution: Execution) -> Repetition:
        """Return what the run asked again of its conversation, and remember it; runs come in order of start."""
        memory = self._memories.setdefault(execution.conversation_id, ConversationMemory())
        self._memories.move_to_end(execution.conversation_id)
        if len(self._memories) > self._max:
            self._memories.popitem(last=False)
        return memory.observe(execution)


class ConversationMemory:
    """The calls of one conversation so far, as far as later ones may repeat them."""

    def __init__(self) -> None:
        self._position = 0
        self._by_call: OrderedDict[tuple[str, str], tuple[int, Step]] = OrderedDict()
        self._by_resource: OrderedDict[str, tuple[int, Step]] = OrderedDict()
        self._written: dict[str, int] = {}

    def observe(self, execution: Execution) -> Repetition:
        """Return what the run asked again, and remember it."""
        tools = execution.of_kind(StepKind.TOOL)
        repeats: list[Repeat] = []
        rereads: list[Reread] = []
        for step in tools:
            self._position += 1
            repeats.extend(self._repeat(step))
            rereads.extend(self._reread(step))
            self._remember(step)
        reads = [step for step in tools if not may_write(step)]
        return Repetition(
            calls=len(tools),
            read_calls=len(reads),
            resource_reads=sum(bool(step.resource) for step in reads),
            repeats=tuple(repeats),
            rereads=tuple(rereads),
            retries=tuple(_retries(tools)),
        )

    def _repeat(self, step: Step) -> Iterator[Repeat]:
        known = None if may_write(step) else self._by_call.get(_call(step))
        if known is not None and step.arguments_digest:
            position, earlier = known
            both = bool(step.result_digest) and bool(earlier.result_digest)
            same = step.result_digest == earlier.result_digest if both else None
            yield Repeat(step, earlier, not self._written_since(position, step), same)

    def _reread(self, step: Step) -> Iterator[Reread]:
        known = None if may_write(step) or not step.resource else self._by_resource.get(step.resource)
        if known is not None:
            position, earlier = known
            yield Reread(step, earlier, self._written_since(position, step))

    def _written_since(self, position: int, step: Step) -> bool:
        place = touched(step)
        return any(at > position and may_meet(written, place) for written, at in self._written.items())

    def _remember(self, step: Step) -> None:
        if may_write(step):
            place = touched(step)
            full = place not in self._written and len(self._written) >= MAX_WRITTEN
            self._written[ANYTHING if full else place] = self._position
        elif step.error_type is None:
            _keep(self._by_call, _call(step), (self._position, step))
            if step.resource:
                _keep(self._by_resource, step.resource, (self._position, step))


def _call(step: Step) -> tuple[str, str]:
    return step.name, step.arguments_digest


def _keep(kept: OrderedDict[_Key, tuple[int, Step]], key: _Key, value: tuple[int, Step]) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > MAX_CALLS:
        kept.popitem(last=False)


def _retries(tools: tuple[Step, ...]) -> Iterator[Retry]:
    failed: dict[str, Step] = {}
    for step in tools:
        before = failed.pop(step.name, None)
        if before is not None:
            same = bool(step.arguments_digest) and step.arguments_digest == before.arguments_digest
            yield Retry(step, before, same)
        if step.error_type is not None:
            failed[step.name] = step
