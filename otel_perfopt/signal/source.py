"""What every reader of recorded telemetry offers: files in, batches of `SpanRecord`s and counted problems out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from otel_perfopt.signal.record import SpanRecord

MAX_KEPT_PROBLEMS = 200


@dataclass(frozen=True, slots=True)
class ReadProblem:
    """One thing that could not be read: where (`line` 0 = the whole file), what kind, and what was wrong."""

    path: str
    line: int
    kind: str
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place}: {self.message}"


@dataclass(slots=True)
class ReadTally:
    """What one pass over the input read and could not read; every problem is counted, the first 200 are kept."""

    files: int = 0
    lines: int = 0
    bytes: int = 0
    spans: int = 0
    problem_counts: Counter[str] = field(default_factory=Counter)
    problems: list[ReadProblem] = field(default_factory=list)

    def report(self, problem: ReadProblem) -> None:
        """Count `problem` and keep it while there is room."""
        self.problem_counts[problem.kind] += 1
        if len(self.problems) < MAX_KEPT_PROBLEMS:
            self.problems.append(problem)


class SpanSource(Protocol):
    """Recorded telemetry that can be read once, in bounded memory.

    Each batch holds every span of the traces in it (a trace never spans two batches), so that a
    batch can be turned into executions and forgotten.
    """

    @property
    def tally(self) -> ReadTally:
        """What has been read so far, and what could not be."""
        ...

    def batches(self) -> Iterator[tuple[SpanRecord, ...]]:
        """Yield batches of whole traces."""
        ...
