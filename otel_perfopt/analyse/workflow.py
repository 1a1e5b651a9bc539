"""Commands that belong together: runs in, sequences that conversations go through again and again out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from otel_perfopt.analyse.bounded_table import BoundedTable, RecentStates
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.analyse.wording import counted, percent, percent_range, seconds
from otel_perfopt.execution.model import Execution, Target

LONGEST = 4
MIN_CONVERSATIONS = 10
MIN_FOLLOWED = 0.5
MIN_LIFT = 1.3
LEVEL = 0.999
MAX_FINDINGS = 3
_Names = tuple[str, ...]


@dataclass(slots=True)
class _Seen:
    count: int = 0
    conversations: int = 0
    last_conversation: str = ""
    again: int = 0
    again_s: float = 0.0
    evidence: TopEvidence = field(default_factory=TopEvidence)


class _Past:
    """The conversation's latest commands, and which traces they were."""

    __slots__ = ("names", "traces")

    def __init__(self) -> None:
        self.names: deque[str] = deque(maxlen=LONGEST)
        self.traces: deque[str] = deque(maxlen=LONGEST)


class Workflow:
    """Finds sequences of two to four commands in which the last follows the others in most cases.

    The last must come more often than it does anyway, in at least ten conversations, and either the
    sequence is longer than two (pairs are for `command_sequence`) or its last command reads again
    what the ones before it had read: then one command for all, or preparing the last, saves that.
    """

    name = "workflow"

    def __init__(self, seed: int = 0) -> None:
        del seed  # proportions need no draws
        self._seen: BoundedTable[_Names, _Seen] = BoundedTable(_Seen, overflow=(), limit=5000)
        self._starts: Counter[_Names] = Counter()
        self._names: Counter[str] = Counter()
        self._past: RecentStates[str, _Past] = RecentStates(_Past, limit=4096)

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        name = execution.command.name
        past = self._past[execution.conversation_id]
        if name in self._names or len(self._names) < 2000:
            self._names[name] += 1
        before = tuple(past.names)
        if before and name:
            again = _read_again(execution, set(past.traces))
            for names in _endings(before, name):
                self._add(names, execution, again)
        past.names.append(name)
        past.traces.append(execution.trace_id)

    def _add(self, names: _Names, execution: Execution, again: tuple[int, float]) -> None:
        seen = self._seen[names]
        seen.count += 1
        if names[:-1] in self._starts or len(self._starts) < 5000:
            self._starts[names[:-1]] += 1
        if seen.last_conversation != execution.conversation_id:
            seen.last_conversation = execution.conversation_id
            seen.conversations += 1
        seen.again += bool(again[0])
        seen.again_s += again[1]
        note = " → ".join(names) + (f", reading {counted(again[0], 'thing')} again" if again[0] else "")
        seen.evidence.add(again[1] or float(again[0]), execution, None, note)

    def findings(self) -> list[Finding]:
        """Return the most frequent reliable sequences, none of them a part of another."""
        reliable = [(names, seen, share) for names, seen, share in self._reliable()]
        reliable.sort(key=lambda item: (-len(item[0]), -item[1].count, item[0]))
        kept: list[tuple[_Names, _Seen, Interval]] = []
        for names, seen, share in reliable:
            if not any(_within(names, longer) for longer, _, _ in kept):
                kept.append((names, seen, share))
        kept.sort(key=lambda item: (-item[1].count, item[0]))
        return [self._finding(*item) for item in kept[:MAX_FINDINGS]]

    def _reliable(self) -> Iterator[tuple[_Names, _Seen, Interval]]:
        everything = sum(self._names.values())
        for names, seen in self._seen.rows.items():
            if seen.conversations < MIN_CONVERSATIONS or len(set(names)) < 2:
                continue
            followed = wilson(seen.count, self._starts[names[:-1]], level=LEVEL)
            usual = self._names[names[-1]] / everything
            reads_again = wilson(seen.again, seen.count)
            worth = len(names) > 2 or (reads_again is not None and reads_again.low >= MIN_FOLLOWED)
            if worth and followed is not None and followed.low >= max(MIN_FOLLOWED, MIN_LIFT * usual):
                yield names, seen, followed

    def _finding(self, names: _Names, seen: _Seen, share: Interval) -> Finding:
        shown = wilson(seen.count, self._starts[names[:-1]]) or share
        again = ""
        if seen.again:
            took = f", {seconds(seen.again_s / seen.count)} each time" if seen.again_s else ""
            again = f"; {percent(seen.again / seen.count)} of them read again what was read before{took}"
        return Finding(
            kind="workflow",
            target=Target(command=names[-1]),
            summary=(
                f"{names[-1]} ends the sequence {' → '.join(names)} in {percent_range(shown)} of the cases that begin so "
                f"({counted(seen.count, 'time')} in {counted(seen.conversations, 'conversation')}){again}; "
                "one command for all of it, or preparing the last during those before, would serve."
            ),
            detector=self.name,
            effect=Effect("follow_rate", "1", shown),
            occurrences=seen.count,
            runs=seen.count,
            evidence=seen.evidence.kept(),
            suggestion=Suggestion("preload", {"after": names[-2]}, {"command": (names[-1],)}),
        )


def _endings(before: _Names, name: str) -> Iterator[_Names]:
    for length in range(1, min(LONGEST - 1, len(before)) + 1):
        yield (*before[-length:], name)


def _read_again(execution: Execution, traces: set[str]) -> tuple[int, float]:
    """Return how many safe reads the run repeats of those runs, and the seconds they took."""
    again = [
        repeat.step
        for repeat in RunView.of(execution).repetition.repeats
        if repeat.safe and repeat.earlier.trace_id in traces and repeat.earlier.trace_id != execution.trace_id
    ]
    return len(again), sum(step.duration_s for step in again) if execution.timed else 0.0


def _within(names: _Names, longer: _Names) -> bool:
    return any(longer[start : start + len(names)] == names for start in range(len(longer) - len(names) + 1))
