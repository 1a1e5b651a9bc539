"""Users whose preference is known: a taste and a seed in, runs as their behaviour leaves them out."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from otel_perfopt.analyse.preference_learner import PreferenceLearner
from otel_perfopt.execution.model import Evaluation, Execution, Outcome, Step, StepKind, Target
from otel_perfopt.signal.preference import QUALITY, SPEED

SALT = "5a" * 16
START_NS = 1_795_000_000_000_000_000
COMMANDS = ("/query", "/write")


@dataclass(frozen=True, slots=True)
class Taste:
    """How strongly behaviour follows a preference: what a quick or slow answer changes, from nothing on."""

    rates: float = 0.4  # how often a run is rated at all
    scores: float = 0.6  # between the slowest and the quickest, on a scale of 0 to 1
    noise: float = 0.25
    impatience: float = 0.35  # of slow runs, interrupted
    asks_again: float = 0.45  # after quick answers
    base_interrupted: float = 0.05
    base_asked: float = 0.12


@dataclass
class SimulatedUser:
    """One user, whose preference may differ by command and change with the number of runs."""

    name: str
    preferences: Mapping[str, str] = field(default_factory=dict)
    taste: Taste = Taste()
    seed: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(f"{self.name}:{self.seed}")
        self._now_ns = START_NS
        self._number = 0

    def run(self, command: str = "/query", **attributes: str) -> Execution:
        """Return the next run: its time is chance, everything else follows from the time and the taste."""
        chance, taste = self._chance, self.taste
        prefers = self.preferences.get(command, "")
        # Lognormal: the place among others is the normal distribution's own.
        deviation = chance.gauss(0.0, 1.0)
        seconds = 5.0 * 2.718 ** (0.7 * deviation)
        slow = deviation > 0
        interrupted = chance.random() < (taste.impatience if prefers == SPEED and slow else taste.base_interrupted)
        start_ns = self._now_ns
        end_ns = start_ns + int(seconds * 1e9)
        asks = chance.random() < (taste.asks_again if prefers == QUALITY and not slow else taste.base_asked)
        self._now_ns = end_ns + int((10 if asks else 3600) * 1e9)
        evaluations = (self._score(prefers, deviation),) if chance.random() < taste.rates and not interrupted else ()
        self._number += 1
        trace = f"{self.name}-{self._number}"
        step = Step(
            trace, "s", "", StepKind.COMMAND, command, Target(command=command), start_ns, end_ns, attributes=attributes
        )
        outcome = Outcome.INTERRUPTED if interrupted else Outcome.COMPLETED
        return Execution(step, (), f"c-{trace}", user_id=self.name, outcome=outcome, evaluations=evaluations)

    def _score(self, prefers: str, deviation: float) -> Evaluation:
        quickness = min(1.0, max(0.0, 0.5 - deviation / 4))
        sign = {SPEED: 1.0, QUALITY: -1.0}.get(prefers, 0.0)
        score = 0.6 + sign * self.taste.scores * (quickness - 0.5) + self._chance.gauss(0.0, self.taste.noise)
        return Evaluation("feedback", min(1.0, max(0.0, score)))


def population(count: int, seed: int, share: float = 0.0) -> list[SimulatedUser]:
    """Return that many users without a preference; `share` of them, each way, with one."""
    users = []
    for number in range(count):
        place = number / max(1, count)
        word = SPEED if place < share else QUALITY if place < 2 * share else ""
        users.append(SimulatedUser(f"user-{seed}-{number}", dict.fromkeys(COMMANDS, word), seed=seed))
    return users


def rounds(users: list[SimulatedUser], count: int, command: str = "/query") -> Iterator[Execution]:
    """Yield that many runs of each user, everybody's first before anybody's second."""
    for _ in range(count):
        for user in users:
            yield user.run(command)


def observed(learner: PreferenceLearner, runs: Iterator[Execution]) -> None:
    """Show all runs to a learner."""
    for run in runs:
        learner.observe(run)
