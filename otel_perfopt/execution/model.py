"""The types room 2 hands on: one command's run and the steps it was made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter

from otel_perfopt.signal.record import Attributes, no_attributes


class _Word(str, Enum):
    """A string enumeration that prints as its value (3.10 has no StrEnum)."""

    __str__ = str.__str__


class StepKind(_Word):
    """What a step is, whatever instrumentation reported it."""

    COMMAND = "command"
    THINKING = "thinking"
    INFERENCE = "inference"
    TOOL = "tool"
    RETRIEVAL = "retrieval"
    MODULE_LOAD = "module_load"
    OTHER = "other"


class ToolEffects(_Word):
    """What a tool does to the world; only `read` may be cached, repeated, reordered or speculated."""

    READ = "read"
    WRITE = "write"
    UNKNOWN = "unknown"


class Outcome(_Word):
    """How a command ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    ABANDONED = "abandoned"


_NOT_CONTEXT = frozenset({StepKind.RETRIEVAL, StepKind.TOOL})


@dataclass(frozen=True, slots=True)
class Target:
    """What a number, finding, policy or change is about: the same key from room 2 to room 7; empty means any."""

    service: str = ""
    agent: str = ""
    command: str = ""
    tool: str = ""
    model: str = ""

    def __str__(self) -> str:
        parts = (self.service, self.agent, self.command, self.tool, self.model)
        return " · ".join(part for part in parts if part) or "everything"


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one model call, or a sum of them.

    `input` includes `cache_read` and `cache_write`, `output` includes `reasoning` (GenAI semantic
    conventions). None means the source did not say, which is not zero.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    resent: int | None = None

    @property
    def total(self) -> int | None:
        """Input plus output; None when neither is known."""
        if self.input is None and self.output is None:
            return None
        return (self.input or 0) + (self.output or 0)

    def __add__(self, other: TokenUsage) -> TokenUsage:
        # Most steps state no tokens at all.
        if other is NO_TOKENS:
            return self
        if self is NO_TOKENS:
            return other
        return TokenUsage(
            input=_add(self.input, other.input),
            output=_add(self.output, other.output),
            cache_read=_add(self.cache_read, other.cache_read),
            cache_write=_add(self.cache_write, other.cache_write),
            reasoning=_add(self.reasoning, other.reasoning),
            resent=_add(self.resent, other.resent),
        )


def _add(left: int | None, right: int | None) -> int | None:
    if left is None:
        return right
    return left if right is None else left + right


NO_TOKENS = TokenUsage()
_COUNTS = attrgetter("input", "output", "cache_read", "cache_write", "reasoning", "resent")


def sum_usage(usages: Iterable[TokenUsage]) -> TokenUsage:
    """Return what adding the usages up one by one gives, at once; at least one."""
    columns = zip(*map(_COUNTS, usages), strict=True)
    said = ([count for count in column if count is not None] for column in columns)
    return TokenUsage(*(sum(counts) if counts else None for counts in said))


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened in a run.

    Times are Unix nanoseconds. `name` is the tool, model, module or command; `requested_by` is the
    span id of the inference whose reply asked for this tool call. `arguments_digest` and
    `result_digest` identify content without holding it. `inputs` and `outputs` are digests of the
    specific values a call took and gave: a shared value means data may have flowed; with
    `flow_truncated` not all outputs are listed, so independence cannot be claimed. `resource` names
    what was read or written (a file, a row) where the tool says so. `estimated` marks durations that
    were inferred, not observed.
    """

    trace_id: str
    span_id: str
    parent_span_id: str
    kind: StepKind
    name: str
    target: Target
    start_ns: int
    end_ns: int
    tokens: TokenUsage = NO_TOKENS
    error_type: str | None = None
    effects: ToolEffects = ToolEffects.UNKNOWN
    call_id: str = ""
    requested_by: str = ""
    arguments_digest: str = ""
    result_digest: str = ""
    resource: str = ""
    inputs: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()
    flow_truncated: bool = False
    estimated: bool = False
    cost_usd: float | None = None
    attributes: Attributes = field(default_factory=no_attributes)

    @property
    def duration_s(self) -> float:
        """Wall time in seconds, never negative."""
        return max(0, self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one policy decided for a run: its arm (`baseline` or `treatment`), digest, stage and allocation.

    `unit` tells what was allocated, where neither conversation nor user does.
    """

    arm: str
    digest: str = ""
    stage: str = ""
    allocation: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A judgement of a run by a person or a judge (`gen_ai.evaluation.result`)."""

    name: str
    score: float | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Execution:
    """One command's run.

    `command` is the step that encloses the run; `steps` are all others ordered by start. A run
    without a conversation of its own has its trace id as `conversation_id`. `timed` is False where
    the source has no clock (a bare chat trajectory): counts and tokens hold, durations do not.
    `finished` is False where the command's own span is missing (it still runs, or its process died):
    `command` then only spans what is known of it, and its outcome is `abandoned`. `release` is the
    service's version, empty where its resource names none.
    """

    command: Step
    steps: tuple[Step, ...]
    conversation_id: str
    user_id: str = ""
    outcome: Outcome = Outcome.COMPLETED
    arms: Mapping[str, Assignment] = field(default_factory=dict)
    evaluations: tuple[Evaluation, ...] = ()
    timed: bool = True
    finished: bool = True
    location: str = ""
    release: str = ""

    @property
    def trace_id(self) -> str:
        """The trace the run was recorded in."""
        return self.command.trace_id

    @property
    def duration_s(self) -> float:
        """Wall time of the command in seconds."""
        return self.command.duration_s

    def of_kind(self, kind: StepKind) -> tuple[Step, ...]:
        """Return the steps of one kind, in order of start."""
        return tuple(step for step in self.steps if step.kind is kind)

    @property
    def tokens(self) -> TokenUsage:
        """Sum over the run's model calls, each counted once; an embedding's tokens are no context and stay out.

        The builder leaves tokens only on the innermost span that states them, which may be an
        agent's own or the command.
        """
        inner = (step.tokens for step in self.steps if step.kind not in _NOT_CONTEXT)
        stated = [usage for usage in (self.command.tokens, *inner) if usage is not NO_TOKENS]
        return sum_usage(stated) if stated else NO_TOKENS
