"""The tree of one trace's spans, whatever is missing or broken in it: spans in, parents and a top-down order out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from otel_perfopt.signal.record import SpanRecord


@dataclass(frozen=True, slots=True)
class TraceTree:
    """One trace without cycles or duplicates.

    `parents` gives each span's parent among `spans`, None for a root; `order` lists every span
    once, parents before children.
    """

    spans: dict[str, SpanRecord]
    parents: dict[str, str | None]
    order: list[str]


def trace_tree(spans: Iterable[SpanRecord]) -> TraceTree:
    """Build the tree of one trace.

    Of spans with the same id the one that ends last is kept: exporters deliver at least once. A
    span whose parent is not there is a root; a cycle is cut at its earliest span.
    """
    unique = _unique(spans)
    parents = {span_id: _known_parent(span, unique) for span_id, span in unique.items()}
    children: dict[str, list[str]] = {}
    for span_id, parent in parents.items():
        if parent is not None:
            children.setdefault(parent, []).append(span_id)
    order: list[str] = []
    reached: set[str] = set()
    _descend([span_id for span_id, parent in parents.items() if parent is None], children, reached, order)
    if len(order) < len(unique):
        _cut_cycles(unique, parents, children, reached, order)
    return TraceTree(unique, parents, order)


def _unique(spans: Iterable[SpanRecord]) -> dict[str, SpanRecord]:
    unique: dict[str, SpanRecord] = {}
    for span in spans:
        kept = unique.get(span.span_id)
        if kept is None or span.end_ns > kept.end_ns:
            unique[span.span_id] = span
    return unique


def _known_parent(span: SpanRecord, spans: dict[str, SpanRecord]) -> str | None:
    parent = span.parent_span_id
    return parent if parent and parent != span.span_id and parent in spans else None


def _descend(roots: list[str], children: dict[str, list[str]], reached: set[str], order: list[str]) -> None:
    pending = roots[::-1]
    while pending:
        span_id = pending.pop()
        if span_id in reached:
            continue
        reached.add(span_id)
        order.append(span_id)
        pending.extend(children.get(span_id, ()))


def _cut_cycles(
    spans: dict[str, SpanRecord],
    parents: dict[str, str | None],
    children: dict[str, list[str]],
    reached: set[str],
    order: list[str],
) -> None:
    for span_id in spans:
        if span_id not in reached:
            root = min(_cycle_above(span_id, parents), key=lambda member: (spans[member].start_ns, member))
            parents[root] = None
            _descend([root], children, reached, order)


def _cycle_above(span_id: str, parents: dict[str, str | None]) -> list[str]:
    path: list[str] = []
    positions: dict[str, int] = {}
    current: str | None = span_id
    while current is not None and current not in positions:
        positions[current] = len(path)
        path.append(current)
        current = parents[current]
    return path[positions[current] :] if current is not None else path[-1:]
