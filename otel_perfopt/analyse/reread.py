"""Resources read over and over: runs in, tools that mostly go back to what they had read out."""

from __future__ import annotations

from dataclasses import dataclass, field

from otel_perfopt import conventions as c
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.analyse.wording import counted, percent, percent_range, tokens
from otel_perfopt.execution.effect_order import may_write
from otel_perfopt.execution.model import Execution, Step, Target

MIN_REREADS = 5
MIN_SHARE = 0.2


@dataclass(slots=True)
class _Tool:
    reads: int = 0
    rereads: int = 0
    unchanged: int = 0
    runs: int = 0
    tokens: int = 0
    evidence: TopEvidence = field(default_factory=TopEvidence)


class Reread:
    """Finds tools of which at least 20 % of reads go back to a resource read before in the conversation.

    Another part of a file counts as the same resource: what is paid for again is that it enters the
    context a second time.
    """

    name = "reread"

    def __init__(self, seed: int = 0) -> None:
        del seed  # proportions need no draws
        self._tools: BoundedTable[str, _Tool] = BoundedTable(_Tool, overflow=OTHER, limit=1000)

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        for step in RunView.of(execution).tools:
            if step.resource and not may_write(step):
                self._tools[step.name].reads += 1
        by_resource: dict[tuple[str, str], list[Step]] = {}
        for reread in RunView.of(execution).repetition.rereads:
            step = reread.step
            tool = self._tools[step.name]
            tool.rereads += 1
            tool.unchanged += not reread.written_between
            tool.tokens += _result_tokens(step)
            by_resource.setdefault((step.name, step.resource), []).append(step)
        for (name, resource), steps in by_resource.items():
            note = f"{resource} read again {counted(len(steps), 'time')} in this run"
            self._tools[name].evidence.add(len(steps), execution, steps[0], note)
        for name in {name for name, _ in by_resource}:
            self._tools[name].runs += 1

    def findings(self) -> list[Finding]:
        """Return one finding a tool."""
        found = []
        for name, tool in self._tools.rows.items():
            share = wilson(tool.rereads, tool.reads)
            if share is not None and tool.rereads >= MIN_REREADS and share.low >= MIN_SHARE:
                found.append(self._finding(name, tool, share))
        return found

    def _finding(self, name: str, tool: _Tool, share: Interval) -> Finding:
        weight = f", bringing {tokens(tool.tokens)} into contexts again" if tool.tokens else ""
        return Finding(
            kind="reread",
            target=Target(tool=name),
            summary=(
                f"{percent_range(share)} of the {tool.reads:,} reads by {name} go back to a resource already read in the "
                f"conversation, {percent(tool.unchanged / tool.rereads)} of these with nothing written to it since{weight}."
            ),
            detector=self.name,
            effect=Effect("reads", "1", share),
            occurrences=tool.rereads,
            runs=tool.runs,
            evidence=tool.evidence.kept(),
            suggestion=Suggestion("selective_context", {}, {"tool": (name,)}),
        )


def _result_tokens(step: Step) -> int:
    value = step.attributes.get(c.RESULT_TOKENS)
    return int(value) if isinstance(value, int | float) else 0
