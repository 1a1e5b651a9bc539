"""What each optimization would have changed in a recorded run: a `RunView` in, `WhatIf`s for the replay out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from otel_perfopt.analyse.cache_hits import CACHE_PARAMETERS, CacheHits
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.execution.model import Step, Target, ToolEffects
from otel_perfopt.execution.schedule import NO_CHANGES, Changes

LATENCY, INPUT_TOKENS = "latency", "input_tokens"


@dataclass(frozen=True, slots=True)
class WhatIf:
    """One optimization on one target in one run.

    `changes` is what it would have done; `bound_ns` is what the best conceivable one of its kind
    could save; `calls` are the calls it would have helped (none: only the bound is of interest). A
    rule about tokens gives by model call (span id) the input tokens that would not have been paid
    for in `tokens`, and the most that could be in `bound_tokens`; `saved_ns` is a saving that no
    replay shows, because it lies in waits between steps.
    """

    target: Target
    changes: Changes = NO_CHANGES
    bound_ns: int = 0
    calls: tuple[Step, ...] = ()
    tokens: Mapping[str, int] = field(default_factory=dict)
    bound_tokens: int = 0
    saved_ns: int | None = None


class WhatIfRule(Protocol):
    """How one optimization is imagined; `upper_bound` marks one whose saving needs luck or the model's help."""

    @property
    def optimization(self) -> str:
        """The optimization's type."""
        ...

    @property
    def metric(self) -> str:
        """What it saves: `latency` or `input_tokens`."""
        ...

    @property
    def upper_bound(self) -> bool:
        """Whether the saving is a bound and no prediction."""
        ...

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return what would have been different in the run, by target; each run is shown once, in order."""
        ...

    def parameters(self, target: Target) -> Mapping[str, object]:
        """Return the parameters a policy on the target would need to do what was imagined."""
        ...

    def safe(self, target: Target) -> bool:
        """Tell, once all runs were shown, whether the recordings speak against doing it to this target."""
        ...


class ToolCacheRule:
    """A repeated read of the same conversation is answered at once, within five minutes and with no write since.

    Calls whose recorded result differs from the earlier one are not counted as saved.
    """

    optimization = "tool_cache"
    metric = LATENCY
    upper_bound = False

    def __init__(self) -> None:
        self._cache = CacheHits()

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for each read-only tool of the run's command; the bound is all its calls for nothing."""
        execution = run.execution
        repeats = run.repetition.repeats
        hits: dict[str, list[Step]] = {}
        for hit in self._cache.observe(repeats, timed=execution.timed):
            if not hit.false:
                hits.setdefault(hit.step.name, []).append(hit.step)
        names = {step.name for step in run.tools if step.effects is ToolEffects.READ}
        return [_cached(run, name, hits.get(name, [])) for name in sorted(names)]

    def parameters(self, target: Target) -> Mapping[str, object]:
        """Return the time to live and scope that were imagined."""
        del target
        return CACHE_PARAMETERS

    def safe(self, target: Target) -> bool:
        """Tell whether at most one in a thousand of the hits that could be compared would have been wrong."""
        return self._cache.trustworthy(target.tool)


def _cached(run: RunView, name: str, hits: list[Step]) -> WhatIf:
    changes = Changes(durations_ns={step.span_id: 0 for step in hits})
    reads = [step for step in run.tools if step.name == name and step.effects is ToolEffects.READ]
    return WhatIf(Target(command=run.execution.command.name, tool=name), changes, run.waited_ns(reads), tuple(hits))


class ParallelToolsRule:
    """The read-only calls of one reply start together; writes keep their order and are barriers."""

    optimization = "parallel_tools"
    metric = LATENCY
    upper_bound = False

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for the run's command."""
        several = {reply: calls for reply, calls in run.replies.items() if len(calls) > 1}
        helped = {reply: serial_reads(calls) for reply, calls in several.items()}
        replies = frozenset(reply for reply, calls in helped.items() if len(calls) > 1)
        if not several:
            return ()
        target = Target(command=run.execution.command.name)
        calls = tuple(step for reply in sorted(replies) for step in helped[reply])
        bound_ns = run.replay(_perfect_overlap(several)).saved_ns
        return (WhatIf(target, Changes(parallel_replies=replies), bound_ns, calls),)

    def parameters(self, target: Target) -> Mapping[str, object]:
        """Return nothing: the defaults do it."""
        del target
        return {}

    def safe(self, target: Target) -> bool:
        """Tell that nothing speaks against it: only reads are moved, and never across a write."""
        del target
        return True


class PreloadRule:
    """A read-only call that uses nothing of the one before it starts together with that one.

    A bound: it supposes that call and arguments were known by then, as they would be had the model
    asked for both at once.
    """

    optimization = "preload"
    metric = LATENCY
    upper_bound = True

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for the run's command."""
        starts: dict[str, str] = {}
        pairs = independent_pairs(run)
        for first, second in pairs:
            # A chain of independent calls all start where the first of them was asked for.
            starts[second.span_id] = starts.get(first.span_id) or first.requested_by
        if not starts:
            return ()
        calls = tuple(second for _, second in pairs)
        target = Target(command=run.execution.command.name)
        return (WhatIf(target, Changes(starts_after=starts), run.waited_ns(calls), calls),)

    def parameters(self, target: Target) -> Mapping[str, object]:
        """Return nothing: which calls to prepare is for the miner to say."""
        del target
        return {}

    def safe(self, target: Target) -> bool:
        """Tell that nothing speaks against it: only independent reads are moved."""
        del target
        return True


def serial_reads(calls: Sequence[Step]) -> list[Step]:
    """Return the read-only calls of one reply that take part in a wait for one another, none if they all overlapped.

    A wait is a read that began only after another read of the same reply had ended, with no call
    that may write in between. A call made again because it had failed had to wait: its reply is left out.
    """
    if _tried_again(calls):
        return []
    waited: dict[str, Step] = {}
    group: list[Step] = []
    for step in sorted(calls, key=lambda call: (call.start_ns, call.end_ns)):
        if step.effects is not ToolEffects.READ:
            group = []
            continue
        before = [earlier for earlier in group if earlier.end_ns <= step.start_ns]
        if before:
            waited |= {earlier.span_id: earlier for earlier in before} | {step.span_id: step}
        group.append(step)
    return list(waited.values())


def _tried_again(calls: Sequence[Step]) -> bool:
    failed = {(step.name, step.arguments_digest) for step in calls if step.error_type is not None}
    return bool(failed) and any(
        step.error_type is None and (step.name, step.arguments_digest) in failed for step in calls
    )


def independent_pairs(run: RunView) -> list[tuple[Step, Step]]:
    """Return adjacent read-only calls of different, known replies of which the second uses nothing of the first."""
    return [
        (pair.first, pair.second)
        for pair in run.adjacent_reads
        if pair.independent and pair.first.requested_by and pair.second.requested_by
    ]


def _perfect_overlap(replies: Mapping[str, tuple[Step, ...]]) -> Changes:
    # Of each reply's calls only the longest takes time, and it starts with the first.
    durations: dict[str, int] = {}
    for calls in replies.values():
        longest = max(calls, key=lambda step: step.duration_s)
        durations |= {step.span_id: 0 for step in calls if step is not longest}
    return Changes(durations_ns=durations, parallel_replies=frozenset(replies))
