"""One call at a time: runs in, read-only tools called many times in a row with different arguments out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.units import Units
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.analyse.wording import percent, seconds
from otel_perfopt.execution.model import Execution, Step, Target, ToolEffects

MIN_STREAK = 5
MIN_STREAKS = 3
MIN_CALL_SHARE = 0.2
MIN_TIME_SHARE = 0.01


@dataclass(slots=True)
class _Tool:
    calls: int = 0
    streaks: int = 0
    runs: int = 0
    in_streaks: int = 0
    longest: int = 0
    spent_ns: int = 0
    evidence: TopEvidence = field(default_factory=TopEvidence)


class NPlusOne:
    """Finds read-only tools called five times or more in a row with different arguments, at least three times over."""

    name = "n_plus_one"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._tools: BoundedTable[str, _Tool] = BoundedTable(_Tool, overflow=OTHER, limit=500)
        self._units = Units()

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        calls = RunView.of(execution).tools
        for step in calls:
            self._tools[step.name].calls += 1
        sums: dict[str, float] = {"": execution.duration_s} if execution.timed else {}
        for streak in _streaks(calls):
            name = streak[0].name
            tool = self._tools[name]
            tool.streaks += 1
            tool.runs += 1
            tool.in_streaks += len(streak)
            tool.longest = max(tool.longest, len(streak))
            spent = sum(step.duration_s for step in streak) if execution.timed else 0.0
            tool.spent_ns += round(spent * 1e9)
            sums[name] = sums.get(name, 0.0) + spent
            note = f"{len(streak)} calls in a row" + (f", {seconds(spent)}" if execution.timed else "")
            tool.evidence.add(len(streak), execution, streak[0], note)
        self._units.add(execution, sums)

    def findings(self) -> list[Finding]:
        """Return one finding a tool."""
        found = []
        for name, tool in self._tools.rows.items():
            share = self._units.time_share(name, "", seed=self._seed)
            much = tool.in_streaks >= MIN_CALL_SHARE * tool.calls
            costly = share is not None and share.estimate >= MIN_TIME_SHARE
            if tool.streaks >= MIN_STREAKS and (much or costly):
                found.append(self._finding(name, tool, share))
        return found

    def _finding(self, name: str, tool: _Tool, share: Interval | None) -> Finding:
        took = f"; these calls take {percent(share.estimate)} of all time" if share is not None else ""
        return Finding(
            kind="n_plus_one",
            target=Target(tool=name),
            summary=(
                f"{name} was called {MIN_STREAK} times or more in a row with different arguments {tool.streaks:,} times "
                f"(longest {tool.longest}, {percent(tool.in_streaks / tool.calls)} of its calls){took}; "
                "one call for many would do, where the tool has such a form."
            ),
            detector=self.name,
            effect=_effect(tool, share),
            occurrences=tool.streaks,
            runs=tool.runs,
            evidence=tool.evidence.kept(),
            suggestion=Suggestion("batch_tools", {}, {"tool": (name,)}),
        )


def _effect(tool: _Tool, share: Interval | None) -> Effect:
    if share is not None:
        return Effect("latency", "s", share)
    return Effect("calls", "1", wilson(tool.in_streaks, tool.calls))


def _streaks(calls: tuple[Step, ...]) -> Iterator[list[Step]]:
    for _, group in groupby(calls, key=lambda step: step.name):
        streak = list(group)
        different = len({step.arguments_digest for step in streak}) == len(streak)
        read_only = all(step.effects is ToolEffects.READ for step in streak)
        if len(streak) >= MIN_STREAK and read_only and different and all(step.arguments_digest for step in streak):
            yield streak
