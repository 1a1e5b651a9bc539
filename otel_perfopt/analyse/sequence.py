"""Steps that reliably follow others: runs in, next commands and next read-only tools worth preparing for out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from otel_perfopt.analyse.bounded_table import BoundedTable, RecentStates
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.analyse.wording import percent, percent_range
from otel_perfopt.execution.model import Execution, Step, Target, ToolEffects

MIN_FOLLOWED = 0.5
MIN_LIFT = 1.3
MIN_COUNT = 10
MAX_FINDINGS = 5
# Every pair is a question asked of the data: an interval this wide keeps chance pairs out.
LEVEL = 0.999

_COMMANDS, _TOOLS = "command", "tool"
_Pair = tuple[str, str, str]


@dataclass(slots=True)
class _Followed:
    count: int = 0
    runs: int = 0
    evidence: TopEvidence = field(default_factory=TopEvidence)


class _Last:
    __slots__ = ("name",)

    def __init__(self) -> None:
        self.name = ""


class Sequence:
    """Finds pairs where the second follows the first in most cases, and more often than it comes anyway.

    A command counts as next in its conversation; a tool as next in its run and asked for by another
    reply, where both tools only read and differ (repeats of one tool are for other detectors). At
    most five findings, the most frequent.
    """

    name = "sequence"

    def __init__(self, seed: int = 0) -> None:
        del seed  # proportions need no draws
        self._pairs: BoundedTable[_Pair, _Followed] = BoundedTable(_Followed, overflow=("", "", ""), limit=5000)
        self._starts: Counter[tuple[str, str]] = Counter()
        self._seen_names: Counter[tuple[str, str]] = Counter()
        self._all: Counter[str] = Counter()
        self._writing: set[str] = set()
        self._last: RecentStates[str, _Last] = RecentStates(_Last, limit=4096)

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        last = self._last[execution.conversation_id]
        name = execution.command.name
        if last.name and name:
            self._add(_COMMANDS, last.name, name, execution, None)
        last.name = name
        self._seen(_COMMANDS, name)
        tools = RunView.of(execution).tools
        for step in tools:
            self._seen(_TOOLS, step.name)
            if step.effects is not ToolEffects.READ and len(self._writing) < 5000:
                self._writing.add(step.name)
        for before, step in pairwise(tools):
            # Calls of one reply are known together: there is nothing left to foresee.
            if not before.requested_by or before.requested_by != step.requested_by:
                self._add(_TOOLS, before.name, step.name, execution, step)

    def _add(self, what: str, before: str, after: str, execution: Execution, step: Step | None) -> None:
        pair = self._pairs[what, before, after]
        pair.count += 1
        pair.runs += 1
        pair.evidence.add(1.0, execution, step, f"{before}, then {after}")
        if (what, before) in self._starts or len(self._starts) < 5000:
            self._starts[what, before] += 1

    def _seen(self, what: str, name: str) -> None:
        if (what, name) in self._seen_names or len(self._seen_names) < 5000:
            self._seen_names[what, name] += 1
        self._all[what] += 1

    def findings(self) -> list[Finding]:
        """Return one finding a reliable pair."""
        found = []
        for (what, before, after), pair in self._pairs.rows.items():
            # What may write must neither be made early itself nor be overtaken by the read after it.
            unsafe = what == _TOOLS and (before in self._writing or after in self._writing)
            if not what or unsafe or before == after or pair.count < MIN_COUNT:
                continue
            followed = wilson(pair.count, self._starts[what, before], level=LEVEL)
            base = self._seen_names[what, after] / self._all[what]
            if followed is not None and followed.low >= max(MIN_FOLLOWED, MIN_LIFT * base):
                found.append(self._finding((what, before, after), pair, followed, base))
        return sorted(found, key=lambda finding: -finding.occurrences)[:MAX_FINDINGS]

    def _finding(self, key: _Pair, pair: _Followed, followed: Interval, base: float) -> Finding:
        what, before, after = key
        shown = wilson(pair.count, self._starts[what, before]) or followed
        command = what == _COMMANDS
        return Finding(
            kind="command_sequence" if command else "tool_sequence",
            target=Target(command=after) if command else Target(tool=after),
            summary=(
                f"{after} follows {before} in {percent_range(shown)} of {self._starts[what, before]:,} cases "
                f"(it is {percent(base)} of all {what}{'s' if command else ' calls'}); it could be prepared while {before} runs."
            ),
            detector=self.name,
            effect=Effect("follow_rate", "1", shown),
            occurrences=pair.count,
            runs=pair.runs,
            evidence=pair.evidence.kept(),
            suggestion=Suggestion("preload", {"after": before}, {what: (after,)}),
        )
