"""Each call told once: a trace's tree in which layers repeat each other in, the same with one step a call out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import StepKind
from otel_perfopt.execution.same_call import encloses, same_calls
from otel_perfopt.execution.trace_tree import TraceTree, trace_tree
from otel_perfopt.signal.dialect_table import CLIENT_SCOPES
from otel_perfopt.signal.record import AttributeValue, SpanRecord

_USAGE: Final = (
    c.GEN_AI_USAGE_INPUT_TOKENS,
    c.GEN_AI_USAGE_OUTPUT_TOKENS,
    c.GEN_AI_USAGE_CACHE_READ_TOKENS,
    c.GEN_AI_USAGE_CACHE_WRITE_TOKENS,
    c.GEN_AI_USAGE_CACHE_CREATION_TOKENS,
    c.GEN_AI_USAGE_REASONING_TOKENS,
)
_COUNTED: Final = frozenset({*_USAGE, c.CONTEXT_RESENT_TOKENS, c.COST_USD})
_FILLED: Final = ("gen_ai.", "perfopt.", "mcp.", c.USER_ID, c.SESSION_ID)


def told_once(tree: TraceTree, kinds: dict[str, StepKind]) -> tuple[TraceTree, dict[str, StepKind]]:
    """Keep one span of each call as its step; the others become plain spans inside or around it.

    Of a model call and an embedding the innermost span is kept (the leaf), of a tool call the outermost
    (what the agent waited for), and ours before any. It gets what only the others state. Token counts come from the
    client itself, then from whoever states most. Every span stays in the trace.
    """
    groups, wrappers = same_calls(tree, kinds)
    if not groups and not wrappers:
        return tree, kinds
    spans, kinds = dict(tree.spans), dict(kinds)
    depths = _depths(tree)
    for wrapper in wrappers:
        kinds[wrapper] = StepKind.OTHER
    for group in groups:
        members = [member for member in group if member not in wrappers]
        if len(members) > 1:
            kept = _kept(members, spans, kinds, depths)
            others = [member for member in members if member != kept]
            spans[kept] = _filled(spans[kept], [spans[other] for other in others])
            for other in others:
                kinds[other] = StepKind.OTHER
                related = encloses(tree, other, kept) or encloses(tree, kept, other)
                spans[other] = _plain(spans[other], spans[other].parent_span_id if related else kept)
    return trace_tree(spans.values()), kinds


def _depths(tree: TraceTree) -> dict[str, int]:
    depths: dict[str, int] = {}
    for span_id in tree.order:
        parent = tree.parents[span_id]
        depths[span_id] = 0 if parent is None else depths[parent] + 1
    return depths


def _kept(
    members: Sequence[str], spans: Mapping[str, SpanRecord], kinds: Mapping[str, StepKind], depths: Mapping[str, int]
) -> str:
    inward = -1 if kinds[members[0]] is StepKind.TOOL else 1
    return min(
        members,
        key=lambda member: (
            spans[member].scope != c.INSTRUMENTATION_SCOPE,
            -inward * depths[member],
            spans[member].start_ns,
            member,
        ),
    )


def _filled(kept: SpanRecord, others: Sequence[SpanRecord]) -> SpanRecord:
    attributes = dict(kept.attributes)
    for other in sorted(others, key=lambda span: (span.start_ns, span.span_id)):
        for name, value in other.attributes.items():
            if name.startswith(_FILLED) and name not in _USAGE:
                attributes.setdefault(name, value)
    attributes.update(_usage([kept, *others]))
    errors = [span.error_type for span in (kept, *others) if span.error_type is not None]
    return replace(kept, attributes=attributes, error_type=errors[0] if errors else None)


def _usage(spans: Sequence[SpanRecord]) -> dict[str, AttributeValue]:
    """Return each count as the most reliable span states it; a zero beside a number is a count not made."""
    ranked = sorted(spans, key=lambda span: (not span.scope.startswith(CLIENT_SCOPES), -_stated(span), span.span_id))
    found: dict[str, AttributeValue] = {}
    for name in _USAGE:
        said = [span.attributes[name] for span in ranked if name in span.attributes]
        if said:
            found[name] = next((value for value in said if value), said[0])
    return found


def _stated(span: SpanRecord) -> int:
    return sum(bool(span.attributes.get(name)) for name in _USAGE)


def _plain(span: SpanRecord, parent: str) -> SpanRecord:
    kept = {name: value for name, value in span.attributes.items() if name not in _COUNTED}
    return replace(span, parent_span_id=parent, attributes={**kept, c.STEP_KIND: StepKind.OTHER.value})
