"""The types of what is known of users: what one prefers, by which basis, and what it would still take to know."""

from __future__ import annotations

from dataclasses import dataclass

from otel_perfopt.analyse.preference_evidence import NO_EVIDENCE, Evidence

# How it is known. Behaviour that shows nothing is knowledge too; too little data is none.
STATED, BEHAVIOUR, NONE_SHOWN, TOO_LITTLE = "stated", "behaviour", "no preference shown", "not enough data"
# In the place of a preference where a run states none.
PREFERS_UNKNOWN = "unknown"
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
    """How many users of one command prefer what (empty: none known), by how it is known, and their mean score.

    `needed_runs` is about how many more runs it takes, of the user of whom most is known, to say anything.
    """

    command: str
    preference: str
    basis: str
    users: int
    runs: int
    satisfaction: float | None = None
    needed_runs: int = 0


@dataclass(frozen=True, slots=True)
class SatisfactionRow:
    """How runs in one arm of a policy were liked by those of one preference; `rated` of them have a user's score."""

    policy: str
    arm: str
    preference: str
    runs: int
    rated: int
    satisfaction: float | None = None
    interrupted: int = 0


@dataclass(frozen=True, slots=True)
class Preferences:
    """What users prefer by command, and how satisfied each kind is by policy and arm; empty where no user is known."""

    commands: tuple[PreferenceRow, ...] = ()
    satisfaction: tuple[SatisfactionRow, ...] = ()
