"""Faster ways to the same end: runs in, orders of steps with which a command's runs succeed sooner out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from otel_perfopt.analyse.finding import Effect, Evidence, Finding, Interval, Suggestion
from otel_perfopt.analyse.group_difference import mean_difference, share_difference, unit_means
from otel_perfopt.analyse.run_row import RunRow, RunRows, log_seconds, run_row
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.wording import percent
from otel_perfopt.execution.model import Execution, Target, ToolEffects

MIN_RUNS = 15
MIN_FASTER = 0.05
MAX_PATTERNS = 60
MAX_COMMANDS = 20
MAX_FINDINGS = 5
# The chance that a report over runs without any such pattern claims one.
ALPHA = 0.01


@dataclass(frozen=True, slots=True)
class _Comparison:
    command: str
    pattern: str
    having: list[RunRow]
    lacking: list[RunRow]


class EfficiencyPattern:
    """Compares a command's successful runs that have a pattern with those that do not, on the logarithm of their time.

    Patterns are the order of two tools' first calls (against the other order, where both are
    used), one tool right after another, and several calls in one reply. Runs of a conversation
    count as one observation, every comparison made shares one error of 1 % (Bonferroni), and a
    pattern with which runs surely fail more often is none. It is an association: what made the
    agent choose the order may be what made the run short.
    """

    name = "efficiency_pattern"

    def __init__(self, seed: int = 0) -> None:
        del seed  # the interval needs no draws
        self._rows = RunRows()
        self._writing: set[str] = set()

    def observe(self, execution: Execution) -> None:
        """Take one run into account; without a clock none is faster."""
        if not execution.timed:
            return
        run = RunView.of(execution)
        row = run.derive(run_row)
        if row.seconds is not None and row.patterns:
            self._rows.add(row)
        for step in run.calls:
            if step.effects is not ToolEffects.READ and len(self._writing) < 5000:
                self._writing.add(step.name)

    def findings(self) -> list[Finding]:
        """Return at most five findings, the largest first."""
        asked = [found for command, rows in self._commands() for found in _comparisons(command, rows)]
        claims = []
        for comparison in asked:
            faster = _faster(comparison, level=1 - ALPHA / len(asked))
            if faster is not None and faster.low > 0 and faster.estimate >= MIN_FASTER:
                claims.append((faster, comparison))
        claims.sort(key=lambda claim: (-claim[0].estimate, claim[1].pattern))
        return [self._finding(comparison, faster) for faster, comparison in claims[:MAX_FINDINGS]]

    def _commands(self) -> list[tuple[str, list[RunRow]]]:
        return sorted(self._rows.by_command().items(), key=lambda item: (-len(item[1]), item[0]))[:MAX_COMMANDS]

    def _finding(self, comparison: _Comparison, faster: Interval) -> Finding:
        having = [row for row in comparison.having if row.succeeded]
        usual_s = fmean(row.seconds or 0.0 for row in comparison.lacking)
        return Finding(
            kind="efficiency_pattern",
            target=Target(command=comparison.command),
            summary=(
                f"Runs of {comparison.command or 'the agent'} {_words(comparison.pattern)} end {percent(faster.estimate)} "
                f"({percent(faster.low)} to {percent(faster.high)}) sooner than those {_words(_opposite(comparison.pattern))}, "
                f"with the same outcome ({len(comparison.having):,} and {len(comparison.lacking):,} runs; an association)."
            ),
            detector=self.name,
            effect=Effect("latency", "s", faster, faster.times(usual_s)),
            occurrences=len(comparison.having),
            runs=len(comparison.having) + len(comparison.lacking),
            evidence=tuple(
                Evidence(
                    row.trace_id, row.span_id, row.location, f"a run {_words(comparison.pattern)}, {row.seconds:.3g} s"
                )
                for row in sorted(having, key=lambda row: row.seconds or 0.0)[:5]
            ),
            suggestion=self._suggestion(comparison),
        )

    def _suggestion(self, comparison: _Comparison) -> Suggestion | None:
        if comparison.pattern == "together":
            return Suggestion("parallel_tools", {}, {"command": (comparison.command or "*",)})
        before, _, after = comparison.pattern.split("\t")
        # Only what reads may be started before it is asked for.
        if before in self._writing or after in self._writing:
            return None
        return Suggestion("preload", {}, {"command": (comparison.command or "*",), "tool": (before, after)})


def _comparisons(command: str, rows: list[RunRow]) -> Iterator[_Comparison]:
    counts = Counter(pattern for row in rows for pattern in row.patterns)
    asked = 0
    for pattern, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count < MIN_RUNS or asked >= MAX_PATTERNS:
            return
        having = [row for row in rows if pattern in row.patterns]
        opposite = _opposite(pattern)
        if "\t<\t" in pattern:
            lacking = [row for row in rows if opposite in row.patterns]
            if opposite < pattern and counts[opposite] >= count:
                continue  # compared already, from the other side
        else:
            lacking = [row for row in rows if pattern not in row.patterns]
        if len(lacking) >= MIN_RUNS:
            asked += 1
            yield _Comparison(command, pattern, having, lacking)
            if "\t<\t" in pattern:
                yield _Comparison(command, opposite, lacking, having)


def _faster(comparison: _Comparison, *, level: float) -> Interval | None:
    """Return by what share runs with the pattern are shorter; None for too few, or if they fail more often."""
    failures = [
        unit_means((row.conversation, float(not row.succeeded)) for row in group)
        for group in (comparison.having, comparison.lacking)
    ]
    worse = share_difference(*failures, level=0.95)
    if worse is None or worse.low > 0:
        return None
    times = [
        unit_means((row.conversation, log_seconds(row)) for row in group if row.succeeded)
        for group in (comparison.having, comparison.lacking)
    ]
    difference = mean_difference(*times, level=level)
    if difference is None:
        return None
    return difference.through(lambda value: -math.expm1(value))


def _opposite(pattern: str) -> str:
    if "\t<\t" in pattern:
        before, after = pattern.split("\t<\t")
        return f"{after}\t<\t{before}"
    return pattern.removeprefix("not ") if pattern.startswith("not ") else f"not {pattern}"


def _words(pattern: str) -> str:
    if pattern.startswith("not "):
        return "without that"
    if pattern == "together":
        return "that ask for several tools at once"
    before, how, after = pattern.split("\t")
    return f"that call {before} before {after}" if how == "<" else f"that call {after} right after {before}"
