"""The types of what is known of users: what one prefers, by which basis, and what it would still take to know."""

from __future__ import annotations

from dataclasses import dataclass

from otel_perfopt.analyse.preference_evidence import NO_EVIDENCE, Evidence

# How it is known. Behaviour that shows nothing is knowledge too; too little data is none.
STATED, BEHAVIOUR, NONE_SHOWN, TOO_LITTLE = "stated", "behaviour", "no preference shown", "not enough data"
# Whose runs told.
OF_USER_AND_COMMAND, OF_USER, OF_COMMAND = "user and command", "user", "command"


@dataclass(frozen=True, slots=True)
class PreferenceProfile:
    """What a user (a digest) prefers at a command; empty text where none is known, and `basis` says why.

    `level` says whose runs told: the user's at this command, else all of the user's, else everybody's at
    this command. `needed_runs` is about how many more runs of the user it takes to say anything.
    """

    user: str
    command: str
    preference: str
    basis: str
    level: str
    evidence: Evidence = NO_EVIDENCE
    needed_runs: int = 0


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """How many users of one command prefer what, by how it is known; `satisfaction` is their mean score."""

    command: str
    preference: str
    basis: str
    users: int
    runs: int
    satisfaction: float | None = None
    needed_runs: int = 0
