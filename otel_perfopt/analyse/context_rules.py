"""What leaving things out of the context would have saved: a `RunView` in, `WhatIf`s in input tokens out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from otel_perfopt import conventions as c
from otel_perfopt.analyse.bounded_table import RecentStates
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.usage_table import model_of
from otel_perfopt.analyse.what_if import INPUT_TOKENS, WhatIf
from otel_perfopt.analyse.what_if_rule import PlainRule
from otel_perfopt.execution.model import Execution, Step, StepKind, Target

# Results of more tokens than this may lose their middle, where a person asks for that; nothing here supposes it.
KEPT_TOKENS = 4000
CHARS_PER_TOKEN = 4
MIN_RESULT_TOKENS = 100
# A context that shrank to this was compacted: what had been in it is gone.
COMPACTED = 0.9
# Providers cache prefixes from about a thousand tokens on, keep them five minutes, and charge about a tenth for them.
MIN_PREFIX_TOKENS = 1024
CACHE_LIFE_NS = 300 * 1_000_000_000
CACHED_PRICE = 0.1


def own_calls(run: RunView) -> tuple[Step, ...]:
    """Return the model calls of the run's own context, with input tokens: those inside a tool have another."""
    tools = {step.span_id for step in run.tools}
    return tuple(step for step in run.inferences if step.tokens.input and step.parent_span_id not in tools)


def stated_tokens(step: Step, name: str) -> int:
    """Return a count that a span states; 0 where it does not."""
    value = step.attributes.get(name)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _target(execution: Execution) -> Target:
    return Target(command=execution.command.name)


def _helped(calls: Sequence[Step], saved: Mapping[str, int]) -> tuple[Step, ...]:
    return tuple(step for step in calls if saved.get(step.span_id))


class _Context:
    """What a conversation's context holds: results by digest, and the tokens that would not be in it."""

    __slots__ = ("removed", "results", "sent", "tokens")

    def __init__(self) -> None:
        self.results: set[str] = set()
        self.removed = 0
        self.tokens = 0
        self.sent = 0

    def compacted(self) -> None:
        self.results.clear()
        self.removed = self.tokens = 0


class ContextCompressionRule(PlainRule):
    """A result that the context already holds enters it as a reference, others as tables where that is stated.

    This is what the policy does without parameters, and loses nothing: how long a table would be is stated by
    the recorder, and where it is not nothing is supposed. What is not in the context is not sent with any later
    call either, until the context is compacted. The bound is every token of tool results that was sent.
    """

    optimization = "context_compression"
    metric = INPUT_TOKENS

    def __init__(self) -> None:
        self._contexts: RecentStates[str, _Context] = RecentStates(_Context)

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for the run's command."""
        context = self._contexts[run.execution.conversation_id]
        own = {step.span_id for step in own_calls(run)}
        saved: dict[str, int] = {}
        bound = 0
        for step in sorted((*run.inferences, *run.calls), key=_when):
            if step.kind is not StepKind.INFERENCE:
                self._enter(context, step)
            elif step.span_id in own:
                sent = step.tokens.input or 0
                if sent < COMPACTED * context.sent:
                    context.compacted()
                context.sent = sent
                saved[step.span_id] = min(sent, context.removed)
                bound += min(sent, context.tokens)
        if not bound:
            return ()
        calls = _helped(run.inferences, saved)
        return (WhatIf(_target(run.execution), calls=calls, tokens=saved, bound_tokens=bound),)

    @staticmethod
    def _enter(context: _Context, step: Step) -> None:
        tokens = stated_tokens(step, c.RESULT_TOKENS)
        context.tokens += tokens
        if tokens < MIN_RESULT_TOKENS:
            return
        kept = min(tokens, stated_tokens(step, c.RESULT_SHORTER_TOKENS) or tokens)
        again = step.result_digest and step.result_digest in context.results
        context.removed += tokens if again else tokens - kept
        if step.result_digest:
            context.results.add(step.result_digest)


def _when(step: Step) -> tuple[int, str]:
    # A model call reads what had ended when it began.
    return (step.start_ns if step.kind is StepKind.INFERENCE else step.end_ns), step.span_id


class PromptTidyRule(PlainRule):
    """Instructions that a prompt says twice are said once, where the recorder measured them."""

    optimization = "prompt_tidy"
    metric = INPUT_TOKENS

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for the run's command."""
        saved = {step.span_id: stated_tokens(step, c.REPEATED_PROMPT_TOKENS) for step in own_calls(run)}
        calls = _helped(run.inferences, saved)
        if not calls:
            return ()
        return (WhatIf(_target(run.execution), calls=calls, tokens=saved, bound_tokens=sum(saved.values())),)


@dataclass(slots=True)
class _Prefix:
    sent: int = 0
    model: str = ""
    ended_ns: int = 0


class PromptCacheRule(PlainRule):
    """What a call sends again within five minutes to the same model is read from the provider's cache, at a tenth.

    Tokens saved are those no longer paid for: nine tenths of what was sent again and not read from
    a cache. Calls that say nothing of a cache may have been answered from one, so they only count
    for the bound.
    """

    optimization = "prompt_cache"
    metric = INPUT_TOKENS

    def __init__(self) -> None:
        self._open: RecentStates[str, _Prefix] = RecentStates(_Prefix)

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for the run's command."""
        before = self._open[run.execution.conversation_id]
        saved: dict[str, int] = {}
        bound = 0
        for step, tokens in self._uncached(run, before):
            paid = round(tokens * (1 - CACHED_PRICE))
            bound += paid
            if step.tokens.cache_read is not None:
                saved[step.span_id] = paid
        if not bound:
            return ()
        calls = _helped(run.inferences, saved)
        return (WhatIf(_target(run.execution), calls=calls, tokens=saved, bound_tokens=bound),)

    @staticmethod
    def _uncached(run: RunView, before: _Prefix) -> Iterator[tuple[Step, int]]:
        for step in own_calls(run):
            sent = step.tokens.input or 0
            again = min(sent, before.sent if step.tokens.resent is None else step.tokens.resent)
            alive = not run.execution.timed or step.start_ns - before.ended_ns <= CACHE_LIFE_NS
            tokens = again - (step.tokens.cache_read or 0)
            if tokens > 0 and alive and again >= MIN_PREFIX_TOKENS and model_of(step) == before.model:
                yield step, tokens
            before.sent, before.model, before.ended_ns = sent, model_of(step), step.end_ns
