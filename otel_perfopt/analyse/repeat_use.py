"""What is asked again, as a table: runs in, repeated calls by tool and re-read resources out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from otel_perfopt.analyse.analysis import RepeatRow, Repetition, ResourceRow
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.execution.effect_order import may_write
from otel_perfopt.execution.model import Execution
from otel_perfopt.measure.sql.repeats import CallCount, ReadResource, RepeatedTool

SHOWN = 20


@dataclass(slots=True)
class _Tool:
    calls: int = 0
    repeats: int = 0
    safe: int = 0
    same: int = 0
    timed: int = 0
    safe_ns: int = 0


@dataclass(slots=True)
class _Resource:
    reads: int = 0
    rereads: int = 0
    conversations: int = 0


class RepeatUse:
    """Adds up repeats by tool and re-reads by resource; at most 5,000 resources, the rest in `(other)`."""

    def __init__(self) -> None:
        self._tools: BoundedTable[str, _Tool] = BoundedTable(_Tool, overflow=OTHER)
        self._resources: BoundedTable[str, _Resource] = BoundedTable(_Resource, overflow=OTHER, limit=5000)
        self._totals: Counter[str] = Counter()

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        run = RunView.of(execution)
        found = run.repetition
        again = {reread.step.span_id for reread in found.rereads}
        for step in run.tools:
            if may_write(step):
                continue
            self._tools[step.name].calls += 1
            if step.resource:
                resource = self._resources[step.resource]
                resource.reads += 1
                resource.rereads += step.span_id in again
                resource.conversations += step.span_id not in again
        self._totals.update(
            calls=found.calls, reads=found.read_calls, resources=found.resource_reads, rereads=len(found.rereads)
        )
        for repeat in found.repeats:
            tool = self._tools[repeat.step.name]
            tool.repeats += 1
            tool.same += repeat.same_result is True
            if repeat.safe:
                tool.safe += 1
                tool.timed += execution.timed
                tool.safe_ns += max(0, repeat.step.end_ns - repeat.step.start_ns) if execution.timed else 0

    def add_sum(self, found: CallCount | RepeatedTool | ReadResource) -> None:
        """Take calls into account that a store has added up; the conversations of a resource are its first reads."""
        if isinstance(found, CallCount):
            self._totals.update(calls=found.calls, reads=found.reads)
        elif isinstance(found, RepeatedTool):
            tool = self._tools[found.tool]
            tool.calls += found.calls
            tool.repeats += found.repeats
            tool.safe += found.safe
            tool.timed += found.safe
            tool.same += found.same_result
            tool.safe_ns += found.safe_ns
        else:
            resource = self._resources[found.resource]
            resource.reads += found.reads
            resource.rereads += found.rereads
            resource.conversations += found.reads - found.rereads
            self._totals.update(resources=found.reads, rereads=found.rereads)

    def result(self) -> Repetition:
        """Return the totals and the rows, most repeats first."""
        repeats = sum(tool.repeats for tool in self._tools.rows.values())
        safe = sum(tool.safe for tool in self._tools.rows.values())
        reads, resources, rereads = self._totals["reads"], self._totals["resources"], self._totals["rereads"]
        return Repetition(
            calls=self._totals["calls"],
            read_calls=reads,
            repeats=repeats,
            safe_repeats=safe,
            repeat_share=repeats / reads if reads else None,
            safe_share=safe / reads if reads else None,
            by_tool=self._rows(),
            reads=resources,
            rereads=rereads,
            reread_share=rereads / resources if resources else None,
            resources=self._resource_rows(),
        )

    def _rows(self) -> tuple[RepeatRow, ...]:
        known = [(name, tool) for name, tool in self._tools.rows.items() if tool.repeats]
        known.sort(key=lambda item: (-item[1].repeats, item[0]))
        return tuple(
            RepeatRow(
                tool=name,
                calls=tool.calls,
                repeats=tool.repeats,
                safe=tool.safe,
                with_writes=tool.repeats - tool.safe,
                same_result=tool.same,
                time_s=tool.safe_ns / 1e9 if tool.timed else None,
            )
            for name, tool in known[:SHOWN]
        )

    def _resource_rows(self) -> tuple[ResourceRow, ...]:
        known = [(name, row) for name, row in self._resources.rows.items() if row.rereads]
        known.sort(key=lambda item: (-item[1].rereads, item[0]))
        return tuple(ResourceRow(name, row.reads, row.rereads, row.conversations) for name, row in known[:SHOWN])
