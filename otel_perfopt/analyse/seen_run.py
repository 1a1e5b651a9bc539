"""One run as far as it says what its user prefers: an `Execution` and its place among others in, a `SeenRun` out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from otel_perfopt.conventions import PREFERENCE, PREFERENCE_SOURCE
from otel_perfopt.execution.model import Evaluation, Execution, Outcome
from otel_perfopt.signal.preference import STATED, known_preference

# Scores by users themselves; what a judge says is no user's taste.
_SCORES = frozenset({"feedback", "satisfaction", "user_satisfaction", "user_feedback", "thumbs", "rating"})


@dataclass(slots=True)
class SeenRun:
    """One run of one user, as far as it says anything: `quickness` is its place among its command's runs.

    That is 1 for the quickest, None where too few are known. `asked_again` is None until it is known.
    """

    command: str
    trace_id: str
    end_ns: int
    quickness: float | None
    interrupted: bool = False
    score: float | None = None
    asked_again: bool | None = None
    stated: str = ""

    @property
    def quick(self) -> bool:
        """Whether it took less than most."""
        return self.quickness is not None and self.quickness > 0.5

    @property
    def slow(self) -> bool:
        """Whether it took longer than most, or would have: an interrupted run counts as far as it got."""
        return self.quickness is not None and self.quickness <= 0.5


def seen_run(execution: Execution, quickness: float | None) -> SeenRun:
    """Return what a run says; a preference counts only where the user stated it, not where it was learned."""
    command = execution.command
    stated = command.attributes.get(PREFERENCE) if command.attributes.get(PREFERENCE_SOURCE) == STATED else ""
    return SeenRun(
        command=command.name,
        trace_id=execution.trace_id,
        end_ns=command.end_ns,
        quickness=quickness,
        interrupted=execution.outcome is Outcome.INTERRUPTED,
        score=user_score(execution.evaluations),
        stated=known_preference(stated),
    )


def user_score(evaluations: Iterable[Evaluation]) -> float | None:
    """Return the mean of the user's own scores; None without any."""
    scores = [one.score for one in evaluations if one.score is not None and _plain(one.name) in _SCORES]
    return sum(scores) / len(scores) if scores else None


def _plain(name: str) -> str:
    return "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())
