"""How parallel the tool calls were and could have been: runs in, speed-ups and independent pairs out."""

from __future__ import annotations

from otel_perfopt.analyse.analysis import Parallelism
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.execution.model import Execution
from otel_perfopt.execution.parallelism import Overlap, tool_overlap


class OverlapUse:
    """Adds up overlap over runs; speed-ups need a clock, pairs and replies do not."""

    def __init__(self) -> None:
        self._tools = Overlap()
        self._replies = self._several = self._calls_in_several = self._overlapping = 0
        self._pairs = self._independent = 0

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        run = RunView.of(execution)
        for calls in run.replies.values():
            self._replies += 1
            if len(calls) > 1:
                self._several += 1
                self._calls_in_several += len(calls)
        pairs = run.adjacent_reads
        self._pairs += len(pairs)
        self._independent += sum(pair.independent for pair in pairs)
        if execution.timed:
            self._tools += tool_overlap(execution, tree=run.tree, depends=run.depends)
            self._overlapping += _overlapping(execution)

    def result(self) -> Parallelism:
        """Return the speed-ups and shares."""
        timed = self._tools.elapsed_ns > 0
        return Parallelism(
            replies_with_tools=self._replies,
            replies_with_several=self._several,
            calls_in_several=self._calls_in_several,
            overlapping_calls=self._overlapping,
            parallel_reply_share=self._several / self._replies if self._replies else None,
            reached=self._tools.reached if timed else None,
            possible_within_replies=self._tools.possible_within_replies if timed else None,
            upper_bound_across_replies=self._tools.upper_bound_across_replies if timed else None,
            adjacent_read_pairs=self._pairs,
            independent_pairs=self._independent,
            independent_share=self._independent / self._pairs if self._pairs else None,
        )


def _overlapping(execution: Execution) -> int:
    """Return how many tool calls ran while another one did."""
    tools = [step for step in RunView.of(execution).tools if step.end_ns > step.start_ns]
    overlapping: set[str] = set()
    running: list[int] = []
    for place, step in enumerate(tools):
        running = [other for other in running if tools[other].end_ns > step.start_ns]
        if running:
            overlapping.add(step.span_id)
            overlapping.update(tools[other].span_id for other in running)
        running.append(place)
    return len(overlapping)
