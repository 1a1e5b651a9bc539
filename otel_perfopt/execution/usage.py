"""Token usage and cost of spans, each token counted once: a trace's spans in, what each of them counts for out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import NO_TOKENS, StepKind, TokenUsage
from otel_perfopt.signal.record import Attributes, AttributeValue, SpanRecord

# Kinds whose usage may be a sum of what is below them; a tool's or a retrieval's never is.
_STATED = frozenset(
    {
        c.GEN_AI_USAGE_INPUT_TOKENS,
        c.GEN_AI_USAGE_OUTPUT_TOKENS,
        c.GEN_AI_USAGE_CACHE_READ_TOKENS,
        c.GEN_AI_USAGE_CACHE_WRITE_TOKENS,
        c.GEN_AI_USAGE_CACHE_CREATION_TOKENS,
        c.GEN_AI_USAGE_REASONING_TOKENS,
        c.CONTEXT_RESENT_TOKENS,
    }
)
_SUMMING = frozenset({StepKind.COMMAND, StepKind.INFERENCE, StepKind.THINKING, StepKind.OTHER})
_EXACT = 2**53  # as far as a float knows each integer


def number(value: AttributeValue | None) -> float | None:
    """Return a finite number that is not negative, also from its text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if math.isfinite(read) and read >= 0 else None


def usage_of(attributes: Attributes) -> TokenUsage:
    """Read the token counts a span states; what it does not state stays None."""
    if _STATED.isdisjoint(attributes):
        return NO_TOKENS
    written = _count(attributes, c.GEN_AI_USAGE_CACHE_WRITE_TOKENS)
    return TokenUsage(
        input=_count(attributes, c.GEN_AI_USAGE_INPUT_TOKENS),
        output=_count(attributes, c.GEN_AI_USAGE_OUTPUT_TOKENS),
        cache_read=_count(attributes, c.GEN_AI_USAGE_CACHE_READ_TOKENS),
        cache_write=_count(attributes, c.GEN_AI_USAGE_CACHE_CREATION_TOKENS) if written is None else written,
        reasoning=_count(attributes, c.GEN_AI_USAGE_REASONING_TOKENS),
        resent=_count(attributes, c.CONTEXT_RESENT_TOKENS),
    )


def _count(attributes: Attributes, name: str) -> int | None:
    said = attributes.get(name)
    if said is None or (type(said) is int and 0 <= said <= _EXACT):
        return said
    value = number(said)
    return None if value is None else int(value)


def counted_usage(
    order: Sequence[str],
    spans: Mapping[str, SpanRecord],
    parents: Mapping[str, str | None],
    kinds: Mapping[str, StepKind],
) -> dict[str, TokenUsage]:
    """Return the usage each span counts for, by span id; spans that only repeat others' are left out.

    An agent, a workflow or a wrapping client may repeat the sum of its children: usage counts on the
    innermost span that states it (GenAI semantic conventions). Thinking inside an inference is part
    of that inference's output and never counts by itself. `order` lists parents before children.
    """
    inside_inference = _inside_inference(order, parents, kinds)
    repeated: set[str] = set()
    counted: dict[str, TokenUsage] = {}
    for span_id in reversed(order):
        kind = kinds[span_id]
        usage = usage_of(spans[span_id].attributes)
        thought = kind is StepKind.THINKING and span_id in inside_inference
        states = kind in _SUMMING and usage.total is not None and not thought
        if usage != NO_TOKENS and not thought and not (kind in _SUMMING and span_id in repeated):
            counted[span_id] = usage
        parent = parents[span_id]
        if parent is not None and (states or span_id in repeated):
            repeated.add(parent)
    return counted


def _inside_inference(
    order: Sequence[str], parents: Mapping[str, str | None], kinds: Mapping[str, StepKind]
) -> set[str]:
    inside: set[str] = set()
    for span_id in order:
        parent = parents[span_id]
        if parent is not None and (parent in inside or kinds[parent] is StepKind.INFERENCE):
            inside.add(span_id)
    return inside


def counted_cost(
    order: Sequence[str], spans: Mapping[str, SpanRecord], parents: Mapping[str, str | None]
) -> dict[str, float]:
    """Return the stated cost in USD each span counts for, by span id: the innermost span that states one."""
    repeated: set[str] = set()
    counted: dict[str, float] = {}
    for span_id in reversed(order):
        cost = number(spans[span_id].attributes.get(c.COST_USD))
        if cost is not None and span_id not in repeated:
            counted[span_id] = cost
        parent = parents[span_id]
        if parent is not None and (cost is not None or span_id in repeated):
            repeated.add(parent)
    return counted
