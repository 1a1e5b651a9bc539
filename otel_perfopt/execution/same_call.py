"""Which spans of a trace tell of one call, seen by several layers: a trace's tree in, groups of span ids out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import StepKind
from otel_perfopt.execution.span_kind import is_agent, text
from otel_perfopt.execution.trace_tree import TraceTree
from otel_perfopt.signal.record import SpanRecord

# A layer around a client's call begins and ends with it, but for its own work.
MAX_SLACK_NS: Final = 50_000_000
MAX_SLACK_SHARE: Final = 0.1
_NEIGHBOURS: Final = 64


def same_calls(tree: TraceTree, kinds: Mapping[str, StepKind]) -> tuple[list[list[str]], set[str]]:
    """Return the groups of two and more spans that tell of one call, and wrappers around several model calls.

    A framework, an instrumentation of the client and the client itself may each make a span for one
    model call or tool call. Model calls are the same when they have one reply's id and overlap, when
    one directly encloses the other alone, or when spans of two layers with one model begin and end
    together. Tool calls are the same with one call id, or when a tool encloses the same tool of
    another layer, and so are embeddings and retrievals. A model call that directly encloses several is
    their wrapper.
    """
    inferences = [span_id for span_id in tree.order if kinds[span_id] is StepKind.INFERENCE]
    tools = [span_id for span_id in tree.order if kinds[span_id] is StepKind.TOOL]
    retrievals = [span_id for span_id in tree.order if kinds[span_id] is StepKind.RETRIEVAL]
    if len(inferences) < 2 and len(tools) < 2 and len(retrievals) < 2:
        return [], set()
    sets = _Sets([*inferences, *tools, *retrievals])
    enclosing = _enclosing(tree, kinds)
    wrappers: set[str] = set()
    if len(inferences) > 1:
        sets.join_all(_one_identity(tree, inferences, c.GEN_AI_RESPONSE_ID))
        sets.join_all(_together(tree, inferences))
        wrappers = _join_enclosed(tree, inferences, enclosing, sets)
    if len(tools) > 1:
        sets.join_all(_one_identity(tree, tools, c.GEN_AI_TOOL_CALL_ID))
        sets.join_all(_same_inside(tree, tools, enclosing, c.GEN_AI_TOOL_NAME))
    if len(retrievals) > 1:
        sets.join_all(_same_inside(tree, retrievals, enclosing, c.GEN_AI_OPERATION_NAME))
    return sets.groups(), wrappers


def encloses(tree: TraceTree, upper: str, lower: str) -> bool:
    """Tell whether the span `lower` hangs below `upper`, at any depth."""
    parent = tree.parents[lower]
    while parent is not None and parent != upper:
        parent = tree.parents[parent]
    return parent is not None


class _Sets:
    """Disjoint sets of span ids, each named by its first member in the tree's order."""

    def __init__(self, members: Sequence[str]) -> None:
        self._parents = {member: member for member in members}

    def find(self, member: str) -> str:
        root = member
        while self._parents[root] != root:
            root = self._parents[root]
        self._parents[member] = root
        return root

    def join_all(self, pairs: Iterable[tuple[str, str]]) -> None:
        for left, right in pairs:
            self._parents[self.find(right)] = self.find(left)

    def groups(self) -> list[list[str]]:
        found: dict[str, list[str]] = {}
        for member in self._parents:
            found.setdefault(self.find(member), []).append(member)
        return [group for group in found.values() if len(group) > 1]


def _enclosing(tree: TraceTree, kinds: Mapping[str, StepKind]) -> dict[str, str]:
    """Return by span the nearest span around it that is no plain one; none across a command or an agent."""
    nearest: dict[str, str] = {}
    for span_id in tree.order:
        parent = tree.parents[span_id]
        if parent is None:
            continue
        if kinds[parent] is not StepKind.OTHER:
            nearest[span_id] = parent
        elif parent in nearest and not is_agent(tree.spans[parent]):
            nearest[span_id] = nearest[parent]
    return nearest


def _one_identity(tree: TraceTree, members: Sequence[str], name: str) -> Iterator[tuple[str, str]]:
    """Pair spans that state the same id while they overlap: a cached reply keeps its id, but comes later."""
    last: dict[str, str] = {}
    for span_id in sorted(members, key=lambda member: (tree.spans[member].start_ns, member)):
        identity = text(tree.spans[span_id].attributes, name)
        if not identity:
            continue
        before = last.get(identity)
        if before is not None and tree.spans[span_id].start_ns < tree.spans[before].end_ns:
            yield before, span_id
        if before is None or tree.spans[span_id].end_ns > tree.spans[before].end_ns:
            last[identity] = span_id


def _together(tree: TraceTree, members: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pair calls of two layers, neither inside the other, that begin and end together: the closest first, each once."""
    spans = tree.spans
    if len({spans[member].scope for member in members}) < 2:
        return
    ordered = sorted(members, key=lambda member: (spans[member].start_ns, -spans[member].end_ns, member))
    pairs: list[tuple[int, str, str]] = []
    for position, outer in enumerate(ordered):
        for inner in ordered[position + 1 : position + 1 + _NEIGHBOURS]:
            if spans[inner].start_ns > spans[outer].end_ns:
                break
            if _may_be_same(spans[outer], spans[inner]) and not _related(tree, outer, inner):
                pairs.append((_length(spans[outer]) - _length(spans[inner]), outer, inner))
    taken: set[tuple[str, str]] = set()
    for _, outer, inner in sorted(pairs):
        # A client's span belongs to one span of each other layer.
        if (outer, spans[inner].scope) not in taken and (inner, spans[outer].scope) not in taken:
            taken |= {(outer, spans[inner].scope), (inner, spans[outer].scope)}
            yield outer, inner


def _related(tree: TraceTree, left: str, right: str) -> bool:
    return encloses(tree, left, right) or encloses(tree, right, left)


def _may_be_same(outer: SpanRecord, inner: SpanRecord) -> bool:
    slack = _length(outer) - _length(inner)
    if outer.scope == inner.scope or inner.end_ns > outer.end_ns:
        return False
    if slack > max(MAX_SLACK_NS, MAX_SLACK_SHARE * _length(outer)):
        return False
    ids = {text(span.attributes, c.GEN_AI_RESPONSE_ID) for span in (outer, inner)} - {""}
    models = [_models(span) for span in (outer, inner)]
    return len(ids) < 2 and bool(models[0] & models[1])


def _models(span: SpanRecord) -> set[str]:
    return {text(span.attributes, name) for name in (c.GEN_AI_REQUEST_MODEL, c.GEN_AI_RESPONSE_MODEL)} - {""}


def _length(span: SpanRecord) -> int:
    return span.end_ns - span.start_ns


def _join_enclosed(tree: TraceTree, members: Sequence[str], enclosing: Mapping[str, str], sets: _Sets) -> set[str]:
    inside: dict[str, list[str]] = {}
    inferences = set(members)
    for member in members:
        outer = enclosing.get(member)
        if outer in inferences and outer is not None:
            inside.setdefault(outer, []).append(member)
    wrappers: set[str] = set()
    # The innermost first: whether calls inside are one is known before those around them are asked.
    for outer in reversed([member for member in tree.order if member in inside]):
        calls = {sets.find(member): member for member in inside[outer]}
        if len(calls) == 1:
            sets.join_all([(outer, next(iter(calls.values())))])
        else:
            wrappers.add(outer)
    return wrappers


def _same_inside(
    tree: TraceTree, members: Sequence[str], enclosing: Mapping[str, str], name: str
) -> Iterator[tuple[str, str]]:
    """Pair a span with the one it directly encloses where both name the same and another layer wrote the inner one."""
    known = set(members)
    for member in members:
        outer = enclosing.get(member)
        if outer is None or outer not in known:
            continue
        inner_span, outer_span = tree.spans[member], tree.spans[outer]
        named = text(inner_span.attributes, name)
        another_layer = inner_span.scope != outer_span.scope or c.MCP_METHOD_NAME in inner_span.attributes
        if named and named == text(outer_span.attributes, name) and another_layer:
            yield outer, member
