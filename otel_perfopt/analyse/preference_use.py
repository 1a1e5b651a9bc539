"""Who prefers what, and how satisfied each kind is: runs in, counts by command and mean scores by policy and arm out.

Users are told apart by digest under a salt that is nobody's, and only counts leave.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from otel_perfopt.analyse.preference_learner import PreferenceLearner
from otel_perfopt.analyse.preference_profile import (
    PREFERS_UNKNOWN,
    PreferenceRow,
    Preferences,
    SatisfactionRow,
)
from otel_perfopt.analyse.seen_run import user_score
from otel_perfopt.conventions import PREFERENCE
from otel_perfopt.execution.model import Execution
from otel_perfopt.signal.preference import known_preference

_SALT = "00" * 16
_MOST_ROWS = 200


@dataclass(slots=True)
class _Scores:
    runs: int = 0
    rated: int = 0
    total: float = 0.0
    interrupted: int = 0


@dataclass(slots=True)
class _Kind:
    users: int = 0
    runs: int = 0
    rated: int = 0
    total: float = 0.0
    needed: list[int] = field(default_factory=list)


class PreferenceUse:
    """Preferences in one pass; `observe` each finished run once."""

    def __init__(self) -> None:
        self._learner = PreferenceLearner(_SALT)
        self._scores: dict[tuple[str, str, str], _Scores] = {}
        self._last_ns = 0

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        self._last_ns = max(self._last_ns, execution.command.end_ns)
        self._learner.observe(execution)
        preference = known_preference(execution.command.attributes.get(PREFERENCE)) or PREFERS_UNKNOWN
        score = user_score(execution.evaluations)
        for policy, assignment in execution.arms.items():
            key = (policy, assignment.arm, preference)
            if key not in self._scores and len(self._scores) >= _MOST_ROWS:
                continue
            found = self._scores.setdefault(key, _Scores())
            found.runs += 1
            found.interrupted += execution.outcome.value == "interrupted"
            if score is not None:
                found.rated, found.total = found.rated + 1, found.total + score

    def result(self) -> Preferences:
        """Return what all runs observed so far say."""
        self._learner.settle(self._last_ns)
        return Preferences(self._rows(), self._satisfaction())

    def _rows(self) -> tuple[PreferenceRow, ...]:
        kinds: dict[tuple[str, str, str], _Kind] = defaultdict(_Kind)
        for digest, runs in self._learner.users():
            for command, number in Counter(run.command for run in runs).items():
                profile = self._learner.profile(digest, command, self._last_ns)
                kind = kinds[command, profile.preference, profile.basis]
                scores = [run.score for run in runs if run.command == command and run.score is not None]
                kind.users, kind.runs = kind.users + 1, kind.runs + number
                kind.rated, kind.total = kind.rated + len(scores), kind.total + sum(scores)
                kind.needed.append(profile.needed_runs)
        ranked = sorted(kinds.items(), key=lambda item: (-item[1].users, item[0]))
        return tuple(
            PreferenceRow(*key, kind.users, kind.runs, _mean(kind.total, kind.rated), min(kind.needed))
            for key, kind in ranked[:_MOST_ROWS]
        )

    def _satisfaction(self) -> tuple[SatisfactionRow, ...]:
        return tuple(
            SatisfactionRow(*key, found.runs, found.rated, _mean(found.total, found.rated), found.interrupted)
            for key, found in sorted(self._scores.items())
        )


def _mean(total: float, number: int) -> float | None:
    return total / number if number else None
