"""Which run each span of a trace belongs to: a trace's tree in, kinds and groups of spans by topmost command out."""

from __future__ import annotations

from otel_perfopt.execution.model import StepKind
from otel_perfopt.execution.span_kind import kind_of
from otel_perfopt.execution.trace_tree import TraceTree


def kinds_of(tree: TraceTree) -> dict[str, StepKind]:
    """Return each span's kind."""
    kinds: dict[str, StepKind] = {}
    enclosed: set[str] = set()
    for span_id in tree.order:
        parent = tree.parents[span_id]
        if parent is not None and (parent in enclosed or kinds[parent] is StepKind.COMMAND):
            enclosed.add(span_id)
        kinds[span_id] = kind_of(tree.spans[span_id], inside_command=span_id in enclosed)
    return kinds


def split_runs(tree: TraceTree, kinds: dict[str, StepKind]) -> dict[str, list[str]]:
    """Return every span once, grouped by the root of its run and parents first.

    A run is a topmost command and what is below it. What has no command above it forms a run around
    its root, with two exceptions that would only be noise as runs: spans whose parent was lost while
    a command ran join that command, and plain spans around commands (a server's request span) join
    the first of them.
    """
    homes: dict[str, str] = {}
    for span_id in tree.order:
        parent = tree.parents[span_id]
        topmost = parent is None or (
            kinds[span_id] is StepKind.COMMAND and kinds[homes[parent]] is not StepKind.COMMAND
        )
        homes[span_id] = span_id if topmost or parent is None else homes[parent]
    runs: dict[str, list[str]] = {}
    for span_id in tree.order:
        runs.setdefault(homes[span_id], []).append(span_id)
    found = [root for root in runs if kinds[root] is StepKind.COMMAND]
    commands = sorted(found, key=lambda root: (tree.spans[root].start_ns, root))
    if commands and len(commands) < len(runs):
        _join_commands(tree, kinds, runs, homes, commands)
    _join_siblings(tree, runs)
    return runs


def has_lost_parent(tree: TraceTree, span_id: str) -> bool:
    """Tell whether a span names a parent that is not there: still open, never exported, or in another place."""
    return tree.parents[span_id] is None and tree.spans[span_id].parent_span_id not in {"", span_id}


def _join_siblings(tree: TraceTree, runs: dict[str, list[str]]) -> None:
    """Make one run of what one lost span encloses, around its earliest child."""
    firsts: dict[str, str] = {}
    lost = [root for root in runs if has_lost_parent(tree, root)]
    for root in sorted(lost, key=lambda span_id: (tree.spans[span_id].start_ns, span_id)):
        first = firsts.setdefault(tree.spans[root].parent_span_id, root)
        if first != root:
            runs[first].extend(runs.pop(root))


def _join_commands(
    tree: TraceTree,
    kinds: dict[str, StepKind],
    runs: dict[str, list[str]],
    homes: dict[str, str],
    commands: list[str],
) -> None:
    first_inside: dict[str, str] = {}
    for command in commands:
        parent = tree.parents[command]
        if parent is not None:
            first_inside.setdefault(homes[parent], command)
    for root in [root for root in runs if kinds[root] is not StepKind.COMMAND]:
        span = tree.spans[root]
        if root in first_inside:
            plain = all(kinds[span_id] is StepKind.OTHER for span_id in runs[root])
            host = first_inside[root] if plain else None
        else:
            lost_parent = bool(span.parent_span_id)
            host = _running_at(tree, commands, span.start_ns) if lost_parent else None
        if host is not None:
            runs[host].extend(runs.pop(root))


def _running_at(tree: TraceTree, commands: list[str], time_ns: int) -> str | None:
    running = [c for c in commands if tree.spans[c].start_ns <= time_ns <= tree.spans[c].end_ns]
    return running[-1] if running else None
