"""What follows what: runs in, frequent sequences of tools and commands and how well the next is guessed out."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

from otel_perfopt.analyse.analysis import NextSteps, Pattern
from otel_perfopt.analyse.bounded_table import RecentStates
from otel_perfopt.execution.model import Execution, StepKind

MAX_SEQUENCES = 50_000
SHOWN = 15


class _LastCommand:
    """The conversation's latest command and when it ended."""

    __slots__ = ("name",)

    def __init__(self) -> None:
        self.name = ""


class NextStepCounts:
    """Counts contiguous pairs and triples of tools within a run, and of commands within a conversation.

    Every step is guessed before it is counted, so the accuracies are of predictions. New sequences
    are not counted any more once 50,000 are known.
    """

    def __init__(self) -> None:
        self._singles: Counter[str] = Counter()
        self._pairs: Counter[tuple[str, ...]] = Counter()
        self._triples: Counter[tuple[str, ...]] = Counter()
        self._commands: Counter[tuple[str, ...]] = Counter()
        self._after: dict[str, Counter[str]] = defaultdict(Counter)
        self._last: RecentStates[str, _LastCommand] = RecentStates(_LastCommand, limit=4096)
        self._guesses = self._right = self._right_by_frequency = 0

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        names = [step.name for step in execution.steps if step.kind in (StepKind.TOOL, StepKind.RETRIEVAL)]
        commonest = _commonest(self._singles) if len(names) > 1 and self._singles else ""
        for before, name in pairwise(names):
            self._guess(before, name, commonest)
        for name in names:
            _count(self._singles, name)
        for before, name in pairwise(names):
            _count(self._pairs, (before, name))
            if len(self._after) < MAX_SEQUENCES or before in self._after:
                _count(self._after[before], name)
        for triple in zip(names, names[1:], names[2:], strict=False):
            _count(self._triples, triple)
        last = self._last[execution.conversation_id]
        if last.name:
            _count(self._commands, (last.name, execution.command.name))
        last.name = execution.command.name

    def _guess(self, before: str, name: str, commonest: str) -> None:
        followers = self._after.get(before)
        if not followers:
            return
        self._guesses += 1
        self._right += _commonest(followers) == name
        self._right_by_frequency += commonest == name

    def counts(self) -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]], Counter[tuple[str, ...]]]:
        """Return how often pairs of tools, triples of tools and pairs of commands came."""
        return self._pairs, self._triples, self._commands

    def result(self) -> NextSteps:
        """Return the most frequent sequences and the accuracies."""
        return NextSteps(
            tool_bigrams=patterns_of(self._pairs),
            tool_trigrams=patterns_of(self._triples),
            command_bigrams=patterns_of(self._commands),
            tool_predictions=self._guesses,
            tool_top1_accuracy=self._right / self._guesses if self._guesses else None,
            most_frequent_accuracy=self._right_by_frequency / self._guesses if self._guesses else None,
        )


def _count(counter: Counter[str] | Counter[tuple[str, ...]], key: str | tuple[str, ...]) -> None:
    if key in counter or len(counter) < MAX_SEQUENCES:
        counter[key] += 1  # type: ignore[index]  # each caller pairs its counter with its own kind of key


def _commonest(counts: Counter[str]) -> str:
    return min(counts, key=lambda name: (-counts[name], name))


def _starts(counts: Counter[tuple[str, ...]]) -> Counter[tuple[str, ...]]:
    starts: Counter[tuple[str, ...]] = Counter()
    for sequence, count in counts.items():
        starts[sequence[:-1]] += count
    return starts


def patterns_of(counts: Counter[tuple[str, ...]]) -> tuple[Pattern, ...]:
    """Return the most frequent sequences, each with how often its last follows those before it."""
    starts = _starts(counts)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    return tuple(Pattern(steps, count, count / starts[steps[:-1]]) for steps, count in ordered)
