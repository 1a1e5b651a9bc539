"""One run to draw: runs in, the waterfall of the slowest typical one out."""

from __future__ import annotations

import math
from collections import defaultdict

from otel_perfopt.analyse.analysis import Bar, Waterfall
from otel_perfopt.analyse.waiting import waits_for_person
from otel_perfopt.execution.critical_path import critical_path
from otel_perfopt.execution.model import Execution, Step
from otel_perfopt.execution.step_tree import StepNode, step_tree
from otel_perfopt.measure.sketch import QuantileSketch

_LOG_RATIO = math.log(1.25)
MIN_STEPS = 3
MAX_BARS = 400
TYPICAL_QUANTILE = 0.95


class TypicalRun:
    """Keeps the latest run of each duration, in steps of a quarter, until it is known which one is typical."""

    def __init__(self) -> None:
        self._durations = QuantileSketch()
        self._kept: dict[int, Execution] = {}

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        if not execution.timed or execution.duration_s <= 0 or len(execution.steps) < MIN_STEPS:
            return
        self._durations.add(execution.duration_s)
        self._kept[round(math.log(execution.duration_s) / _LOG_RATIO)] = execution

    def result(self) -> Waterfall | None:
        """Return the waterfall of the run at the 95th percentile of duration, or next below; None without clocks."""
        limit = self._durations.quantile(TYPICAL_QUANTILE)
        if limit is None:
            return None
        kept = sorted(self._kept.values(), key=lambda run: run.duration_s)
        below = [run for run in kept if run.duration_s <= limit * 1.02]
        return waterfall_of(below[-1] if below else kept[0])


def waterfall_of(execution: Execution) -> Waterfall:
    """Return the run's steps as bars in seconds from its start, with their parts on the critical path."""
    tree = step_tree(execution)
    start = tree.root.start_ns
    critical: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for segment in critical_path(execution, tree):
        critical[segment.step.span_id].append(((segment.start_ns - start) / 1e9, (segment.end_ns - start) / 1e9))
    bars: list[Bar] = []
    pending: list[tuple[StepNode, int]] = [(tree.root, 0)]
    while pending:
        node, depth = pending.pop()
        bars.append(_bar(node, depth, start, tuple(critical[node.step.span_id])))
        pending.extend((child, depth + 1) for child in node.children)
    bars.sort(key=lambda bar: (bar.depth > 0, bar.start_s, bar.depth, bar.end_s, bar.span_id))
    return Waterfall(
        trace_id=execution.trace_id,
        conversation_id=execution.conversation_id,
        location=execution.location,
        command=execution.command.name,
        start_ns=start,
        duration_s=execution.duration_s,
        bars=tuple(bars[:MAX_BARS]),
        left_out=max(0, len(bars) - MAX_BARS),
    )


def _bar(node: StepNode, depth: int, start_ns: int, critical: tuple[tuple[float, float], ...]) -> Bar:
    step: Step = node.step
    return Bar(
        span_id=step.span_id,
        name=step.name,
        kind=step.kind,
        depth=depth,
        start_s=(node.start_ns - start_ns) / 1e9,
        end_s=(node.end_ns - start_ns) / 1e9,
        critical=critical,
        error_type=step.error_type,
        estimated=step.estimated,
        waiting=waits_for_person(step),
    )
