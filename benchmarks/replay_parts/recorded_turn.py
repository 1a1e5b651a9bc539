"""What a recorded agent did, to be done again: a run with its contents in, its rounds of one reply and its calls out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import Execution, Step, StepKind, TokenUsage
from otel_perfopt.signal.digest import content_digest
from otel_perfopt.signal.leaf_paths import leaf_attribute, leaves_of


@dataclass(frozen=True, slots=True)
class Said:
    """What a recording holds of a model call: what was sent, and what came back."""

    messages: Sequence[Mapping[str, Any]]
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """What a recording holds of a tool call."""

    arguments: Mapping[str, Any]
    result: object


@dataclass(frozen=True, slots=True)
class Ask:
    """A model call: begins `gap_s` after everything before it, and takes `seconds`."""

    model: str
    said: Said
    gap_s: float
    seconds: float
    tokens: TokenUsage


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call: begins `gap_s` after the call `after` has ended (its span id; empty: after its round began)."""

    index: int
    span_id: str
    call_id: str
    tool: str
    effects: str
    done: Done
    failed: bool
    after: str
    gap_s: float
    seconds: float
    start_ns: int
    end_ns: int


REPLY = "reply"


@dataclass(frozen=True, slots=True)
class Round:
    """One reply and the tool calls it asked for, in their recorded order."""

    ask: Ask
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """One run, `pause_s` after the one before it in its conversation."""

    execution: Execution
    rounds: tuple[Round, ...]
    pause_s: float
    tail_s: float


@dataclass(frozen=True, slots=True)
class Conversation:
    """All runs of one conversation. `api` is how its messages are written."""

    name: str
    api: str
    turns: tuple[Turn, ...]

    @property
    def calls(self) -> list[Call]:
        """Every tool call in order of start."""
        return [call for turn in self.turns for round_ in turn.rounds for call in round_.calls]


def turn_of(
    execution: Execution, said: Mapping[str, Said], done: Mapping[str, Done], *, first: int, ended_ns: int | None
) -> Turn:
    """Return a run as it is to be replayed; `said` and `done` are by span id.

    Steps of which no content is known are left out, and so is what ran inside a tool. `first` is the number
    of calls that the conversation made before, `ended_ns` when its run before ended.
    """
    steps = {step.span_id: step for step in execution.steps}
    outer = [step for step in execution.steps if not _inside_tool(step, steps)]
    asks = [step for step in outer if step.kind is StepKind.INFERENCE and step.span_id in said]
    calls = [step for step in outer if step.kind is StepKind.TOOL and step.span_id in done]
    rounds: list[Round] = []
    now_ns, index = execution.command.start_ns, first
    for ask in asks:
        asked = sorted((step for step in calls if step.requested_by == ask.span_id), key=lambda step: step.start_ns)
        made = tuple(
            _call(step, ask, asked, done[step.span_id], index + place, execution.timed)
            for place, step in enumerate(asked)
        )
        index += len(made)
        gap_s = max(0, ask.start_ns - now_ns) / 1e9
        rounds.append(
            Round(
                Ask(ask.target.model or ask.name, said[ask.span_id], gap_s, ask.duration_s, ask.tokens),
                made,
            )
        )
        now_ns = max([now_ns, ask.end_ns, *(step.end_ns for step in asked)])
    pause_s = max(0, execution.command.start_ns - ended_ns) / 1e9 if ended_ns is not None else 0.0
    tail_s = max(0, execution.command.end_ns - now_ns) / 1e9
    return Turn(with_contents_stated(execution, said, done), tuple(rounds), pause_s, tail_s)


def with_contents_stated(execution: Execution, said: Mapping[str, Said], done: Mapping[str, Done]) -> Execution:
    """Return the run with what the live recorder states of contents, so that every what-if can look at it."""

    def stated(step: Step) -> Step:
        more: dict[str, Any] = {}
        if step.span_id in said:
            held_said = said[step.span_id]
            more = {
                c.REQUEST_DIGEST: content_digest([dict(message) for message in held_said.messages]),
                # The rule for equal requests compares how replies ended; with their content it knows all.
                c.GEN_AI_RESPONSE_FINISH_REASONS: (content_digest(held_said.text),),
            }
        if step.span_id in done:
            held = done[step.span_id]
            more = {
                c.ARGUMENT_LEAVES: leaf_attribute(leaves_of(dict(held.arguments))),
                c.RESULT_LEAVES: leaf_attribute(leaves_of(held.result)),
            }
        return replace(step, attributes={**step.attributes, **more}) if more else step

    return replace(execution, steps=tuple(stated(step) for step in execution.steps))


def _call(step: Step, ask: Step, siblings: Sequence[Step], done: Done, index: int, timed: bool) -> Call:
    """Return the call, tied to what had ended last when it began; a tick of a source without a clock ties nothing."""
    before = [other for other in (ask, *siblings) if other is not step and other.end_ns <= step.start_ns]
    after, gap_ns = "", max(0, step.start_ns - ask.start_ns)
    if before:
        latest = max(before, key=lambda other: (other.end_ns, other.start_ns))
        after = REPLY if latest is ask else latest.span_id
        gap_ns = step.start_ns - latest.end_ns
    if not timed:
        place = siblings.index(step)
        after, gap_ns = (siblings[place - 1].span_id if place else REPLY), 0
    return Call(
        index,
        step.span_id,
        step.call_id or step.span_id,
        step.name,
        step.effects.value,
        done,
        step.error_type is not None,
        after,
        gap_ns / 1e9,
        step.duration_s,
        step.start_ns,
        step.end_ns,
    )


def _inside_tool(step: Step, steps: Mapping[str, Step]) -> bool:
    parent, seen = steps.get(step.parent_span_id), {step.span_id}
    while parent is not None and parent.span_id not in seen:
        if parent.kind is StepKind.TOOL:
            return True
        seen.add(parent.span_id)
        parent = steps.get(parent.parent_span_id)
    return False
