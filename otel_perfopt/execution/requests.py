"""Which model reply asked for each tool call, where no span says so: a trace's tree in, inference ids out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import StepKind
from otel_perfopt.execution.span_kind import is_agent, text
from otel_perfopt.execution.trace_tree import TraceTree


def requests_of(tree: TraceTree, kinds: Mapping[str, StepKind]) -> dict[str, str]:
    """Return the requesting inference's span id by tool span id.

    Stated by the span itself, else the inference that encloses the call, else the last one that had
    ended in the same agent before the call began: an agent's loop asks, then calls.
    """
    scopes = _scopes(tree, kinds)
    replies: dict[str, list[tuple[int, str]]] = {}
    for span_id in tree.order:
        if kinds[span_id] is StepKind.INFERENCE:
            replies.setdefault(scopes[span_id], []).append((tree.spans[span_id].end_ns, span_id))
    for ended in replies.values():
        ended.sort()
    return {
        span_id: _requester(span_id, tree, kinds, scopes, replies)
        for span_id in tree.order
        if kinds[span_id] is StepKind.TOOL
    }


def _scopes(tree: TraceTree, kinds: Mapping[str, StepKind]) -> dict[str, str]:
    """Return by span the agent, command or tool it runs inside, which is what one loop is."""
    scopes: dict[str, str] = {}
    for span_id in tree.order:
        parent = tree.parents[span_id]
        if parent is None:
            scopes[span_id] = ""
        elif kinds[parent] in (StepKind.COMMAND, StepKind.TOOL) or is_agent(tree.spans[parent]):
            scopes[span_id] = parent
        else:
            scopes[span_id] = scopes[parent]
    return scopes


def _requester(
    span_id: str,
    tree: TraceTree,
    kinds: Mapping[str, StepKind],
    scopes: Mapping[str, str],
    replies: Mapping[str, list[tuple[int, str]]],
) -> str:
    stated = text(tree.spans[span_id].attributes, c.REQUESTED_BY)
    if stated:
        return stated
    scope = scopes[span_id]
    above = tree.parents[span_id]
    while above is not None and above != scope:
        if kinds[above] is StepKind.INFERENCE:
            return above
        above = tree.parents[above]
    ended = replies.get(scope, [])
    position = bisect_right(ended, tree.spans[span_id].start_ns, key=lambda reply: reply[0])
    return ended[position - 1][1] if position else ""
