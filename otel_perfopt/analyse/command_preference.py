"""What most users of a command prefer: their claims in, a preference by command out, for those of whom nothing is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from otel_perfopt.analyse.preference_claim import Claim
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.signal.preference import PREFERENCES

LEAST_USERS: Final = 8


def preferred_by_most(claims: Iterable[tuple[str, Claim]]) -> dict[str, str]:
    """Return by command what surely more than half of its users prefer, at least eight of them.

    `claims` are a command and what is said of one user there, stated or shown. Users of whom too little is
    known count as the others: who is known first is not like the rest.
    """
    users: Counter[str] = Counter()
    preferring: Counter[tuple[str, str]] = Counter()
    for command, claim in claims:
        users[command] += 1
        preferring[command, claim.preference] += 1
    return {
        command: word
        for command, number in users.items()
        for word in PREFERENCES
        if number >= LEAST_USERS and _most(preferring[command, word], number)
    }


def _most(number: int, users: int) -> bool:
    interval = wilson(number, users)
    return interval is not None and interval.low > 0.5
