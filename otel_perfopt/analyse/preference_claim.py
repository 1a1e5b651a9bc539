"""When evidence is enough to say what a user prefers, and when no longer: evidence in, claims that hold out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from otel_perfopt.analyse.preference_evidence import NO_EVIDENCE, Evidence
from otel_perfopt.analyse.preference_profile import BEHAVIOUR, NONE_SHOWN, TOO_LITTLE
from otel_perfopt.signal.preference import QUALITY, SPEED

# Either claim at 5 % a look; what that comes to over many looks is measured (docs/personalization.md).
ALPHA: Final = 0.05
CLAIMED: Final = math.log(1 / ALPHA)
LEAST_AHEAD: Final = 1.0
ENOUGH_RUNS: Final = 24
ENOUGH_EACH: Final = 6


@dataclass(frozen=True, slots=True)
class Claim:
    """What is said of one user, at one command or at all of them."""

    preference: str
    basis: str
    evidence: Evidence = NO_EVIDENCE


class Claims:
    """One user's claims, by command (empty: all commands)."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}
        self._evidence: dict[str, Evidence] = {}

    def weigh(self, command: str, evidence: Evidence) -> None:
        """Take in what the runs say now; a claim stands until the other is shown, or it is seen to be gone.

        Who is given what is preferred no longer shows it: without runs on both sides a claim is not in doubt.
        """
        self._evidence[command] = evidence
        for word, mine, other in (
            (SPEED, evidence.speed, evidence.quality),
            (QUALITY, evidence.quality, evidence.speed),
        ):
            if mine >= CLAIMED and mine - other >= LEAST_AHEAD:
                self._words[command] = word
        standing = self._words.get(command)
        mine = evidence.speed if standing == SPEED else evidence.quality
        if standing and mine <= 0.0 and _is_enough(evidence):
            del self._words[command]

    def claim(self, command: str) -> Claim:
        """Return what is said now."""
        evidence, word = self.evidence(command), self._words.get(command, "")
        if word:
            return Claim(word, BEHAVIOUR, evidence)
        return Claim("", NONE_SHOWN if _is_enough(evidence) else TOO_LITTLE, evidence)

    def evidence(self, command: str) -> Evidence:
        """Return what the runs said last."""
        return self._evidence.get(command, NO_EVIDENCE)

    def commands(self) -> Iterable[str]:
        """Return the commands that something was seen of."""
        return [command for command in self._evidence if command]

    def differ(self) -> bool:
        """Tell whether the user prefers one thing here and another there."""
        return len({word for command, word in self._words.items() if command}) > 1

    def keep_only(self, commands: Iterable[str]) -> None:
        """Forget the commands whose runs are forgotten."""
        kept = set(commands)
        self._words = {command: word for command, word in self._words.items() if command in kept}
        self._evidence = {command: one for command, one in self._evidence.items() if command in kept}

    def state(self) -> Mapping[str, str]:
        """Return what stands, as plain data."""
        return dict(self._words)

    def go_on(self, state: Mapping[str, str]) -> None:
        """Go on with what stood."""
        self._words = dict(state)


def _is_enough(evidence: Evidence) -> bool:
    return evidence.runs >= ENOUGH_RUNS and min(evidence.slow, evidence.quick) >= ENOUGH_EACH
