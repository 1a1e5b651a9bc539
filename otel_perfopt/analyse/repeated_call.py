"""Calls made again for the same answer: runs in, read-only tools that a cache would have answered out."""

from __future__ import annotations

from dataclasses import dataclass, field

from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.cache_hits import CACHE_PARAMETERS, CacheHits
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.units import Units
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.analyse.wording import percent_range, seconds
from otel_perfopt.execution.effect_order import may_write
from otel_perfopt.execution.model import Execution, Target

MIN_HITS = 3
MIN_SHARE = 0.02


@dataclass(slots=True)
class _Tool:
    """What is counted for one tool."""

    calls: int = 0
    hits: int = 0
    runs: int = 0
    spent_s: float = 0.0
    evidence: TopEvidence = field(default_factory=TopEvidence)


class RepeatedCall:
    """Finds read-only tools of which at least 2 % of calls repeat one of the last five minutes, nothing written since.

    Where the recorded results show that the answer often changed all the same, it says so and
    suggests nothing.
    """

    name = "repeated_call"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._tools: BoundedTable[str, _Tool] = BoundedTable(_Tool, overflow=OTHER, limit=1000)
        self._cache = CacheHits()
        self._units = Units()

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        sums: dict[str, float] = {"": execution.duration_s} if execution.timed else {}
        for step in RunView.of(execution).tools:
            if not may_write(step):
                self._tools[step.name].calls += 1
        in_run: dict[str, int] = {}
        for hit in self._cache.observe(RunView.of(execution).repetition.repeats, timed=execution.timed):
            step = hit.step
            tool = self._tools[step.name]
            tool.hits += 1
            in_run[step.name] = in_run.get(step.name, 0) + 1
            note = f"{step.name} with the same arguments again"
            if execution.timed:
                tool.spent_s += step.duration_s
                sums[step.name] = sums.get(step.name, 0.0) + step.duration_s
                note += f", {seconds(step.duration_s)}"
            tool.evidence.add(step.duration_s, execution, step, f"{note} ({step.resource})" if step.resource else note)
        for name in in_run:
            self._tools[name].runs += 1
        self._units.add(execution, sums)

    def findings(self) -> list[Finding]:
        """Return one finding a tool."""
        found = []
        for name, tool in self._tools.rows.items():
            share = wilson(tool.hits, tool.calls)
            if share is not None and tool.hits >= MIN_HITS and share.low >= MIN_SHARE:
                found.append(self._finding(name, tool, share))
        return found

    def _finding(self, name: str, tool: _Tool, share: Interval) -> Finding:
        time = self._units.time_share(name, "", seed=self._seed)
        took = f", taking {seconds(tool.spent_s)}" if time is not None else ""
        compared, false = self._cache.compared(name)
        safe = self._cache.trustworthy(name)
        doubt = "" if safe else f", but {false:,} of {compared:,} results had changed all the same: a cache would lie"
        return Finding(
            kind="repeated_call",
            target=Target(tool=name),
            summary=(
                f"{percent_range(share)} of the {tool.calls:,} calls of {name} repeat a call of the same conversation "
                f"within five minutes with nothing written in between{took}{doubt}."
            ),
            detector=self.name,
            effect=Effect("latency", "s", time) if time is not None else Effect("calls", "1", share),
            occurrences=tool.hits,
            runs=tool.runs,
            evidence=tool.evidence.kept(),
            suggestion=cache_suggestion(name) if safe else None,
        )


def cache_suggestion(tool: str) -> Suggestion:
    """Return the cache that would answer the tool's repeats: by conversation, for five minutes."""
    return Suggestion("tool_cache", CACHE_PARAMETERS, {"tool": (tool,)})
