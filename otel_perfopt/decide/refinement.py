"""Which parameter to try next: outcomes of ended trials in, the values worth trying out.

A value that did harm is halved; one that showed nothing is doubled; between the two lies their
geometric mean. Where something works, nothing is refined.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from otel_perfopt.analyse.finding import Effect, Finding, Suggestion
from otel_perfopt.decide.quantity import format_duration, parse_duration
from otel_perfopt.decide.trial_outcome import BENEFIT_GONE, PROMOTED, TAKEN_BACK, TrialOutcome
from otel_perfopt.execution.model import Target

REFINEMENT = "refinement"
# Values closer together than this are one value: trying between them would tell nothing.
_APART = 1.5


@dataclass(frozen=True, slots=True)
class Tunable:
    """One parameter that outcomes speak of: its word under `with`, its default, and the range it may have."""

    word: str
    default: float
    least: float
    most: float
    is_duration: bool = False

    def read(self, parameters: Mapping[str, Any]) -> float:
        """Return its value in a policy's parameters."""
        value = parameters.get(self.word)
        if value is None:
            return self.default
        return parse_duration(value) if self.is_duration else float(value)

    def write(self, value: float) -> str | int:
        """Return a value as a policy says it."""
        return format_duration(float(max(1, round(value)))) if self.is_duration else max(1, round(value))


# One line a parameter whose size trades gain against harm.
TUNABLES: Mapping[str, Tunable] = {
    "tool_cache": Tunable("ttl", 300.0, 1.0, 86_400.0, is_duration=True),
    "parallel_tools": Tunable("maxConcurrency", 8.0, 2.0, 64.0),
}


def refinements(outcomes: Iterable[TrialOutcome]) -> tuple[Finding, ...]:
    """Return one finding for each optimization and place in which another value is worth a trial.

    Its suggestion has the parameters and match of the last trial with that one value changed.
    """
    groups: dict[tuple[str, str], list[TrialOutcome]] = {}
    for outcome in outcomes:
        if outcome.optimization in TUNABLES:
            place = (outcome.context.command, outcome.context.tool, outcome.context.model, _others(outcome))
            groups.setdefault((outcome.optimization, json.dumps(place)), []).append(outcome)
    found = (_refined(TUNABLES[kind], tried) for (kind, _), tried in sorted(groups.items()))
    return tuple(finding for finding in found if finding is not None)


def _others(outcome: TrialOutcome) -> str:
    tunable = TUNABLES[outcome.optimization]
    return json.dumps({key: value for key, value in outcome.parameters.items() if key != tunable.word}, sort_keys=True)


def _refined(tunable: Tunable, tried: list[TrialOutcome]) -> Finding | None:
    try:
        values = [(tunable.read(outcome.parameters), outcome.end) for outcome in tried]
    except (TypeError, ValueError):
        return None
    if any(end == PROMOTED for _, end in values):
        return None
    harmful = [value for value, end in values if end == TAKEN_BACK]
    weak = [value for value, end in values if end not in {TAKEN_BACK, BENEFIT_GONE}]
    wanted = _next(harmful, weak)
    if wanted is None:
        return None
    value = min(tunable.most, max(tunable.least, wanted))
    if any(max(value, old) / min(value, old) < _APART for old, _ in values):
        return None
    return _finding(tunable, value, tried[-1])


def _next(harmful: list[float], weak: list[float]) -> float | None:
    if harmful and weak:
        # What is weaker than something harmful, and yet harmless.
        below = [value for value in weak if value < min(harmful)]
        return sqrt(max(below) * min(harmful)) if below else None
    if harmful:
        return min(harmful) / 2.0
    return max(weak) * 2.0 if weak else None


def _finding(tunable: Tunable, value: float, last: TrialOutcome) -> Finding:
    context = last.context
    named = {word: getattr(context, word) for word in ("command", "tool", "model")}
    match = {word: (name,) for word, name in named.items() if name != "*"} or {"command": ("*",)}
    target = Target(**{word: name for word, name in named.items() if name != "*"})
    before, now = tunable.write(tunable.read(last.parameters)), tunable.write(value)
    return Finding(
        kind=REFINEMENT,
        target=target,
        summary=(
            f"{last.policy} with {tunable.word} {before} ended {last.end} ({last.reason}); "
            f"{tunable.word} {now} has not been tried."
        ),
        detector="learner",
        effect=Effect(last.metric, "", last.predicted),
        suggestion=Suggestion(last.optimization, {**last.parameters, tunable.word: now}, match),
    )
