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
    scopes, enclosing = _scopes(tree, kinds)
    replies: dict[str, list[tuple[int, str]]] = {}
    for span_id in tree.order:
        if kinds[span_id] is StepKind.INFERENCE:
            replies.setdefault(scopes[span_id], []).append((tree.spans[span_id].end_ns, span_id))
    for ended in replies.values():
        ended.sort()
    return {
        span_id: text(tree.spans[span_id].attributes, c.REQUESTED_BY)
        or enclosing[span_id]
        or _last_before(tree.spans[span_id].start_ns, replies.get(scopes[span_id], []))
        for span_id in tree.order
        if kinds[span_id] is StepKind.TOOL
    }


def _scopes(tree: TraceTree, kinds: Mapping[str, StepKind]) -> tuple[dict[str, str], dict[str, str]]:
    """Return by span the agent, command or tool it runs inside, which is what one loop is, and the inference in it."""
    scopes: dict[str, str] = {}
    enclosing: dict[str, str] = {}
    for span_id in tree.order:
        parent = tree.parents[span_id]
        if parent is None:
            scopes[span_id] = enclosing[span_id] = ""
        elif kinds[parent] in (StepKind.COMMAND, StepKind.TOOL) or is_agent(tree.spans[parent]):
            scopes[span_id], enclosing[span_id] = parent, ""
        else:
            scopes[span_id] = scopes[parent]
            enclosing[span_id] = parent if kinds[parent] is StepKind.INFERENCE else enclosing[parent]
    return scopes, enclosing


def _last_before(time_ns: int, ended: list[tuple[int, str]]) -> str:
    position = bisect_right(ended, time_ns, key=lambda reply: reply[0])
    return ended[position - 1][1] if position else ""
