"""How good the rules of one policy are here and now: foreseen calls and what became of them in, whether to make more out."""

from __future__ import annotations

import threading
from math import sqrt
from typing import Final

# A rule is judged by what it foresaw last, and only once there is something to judge.
MIN_JUDGED: Final = 10
MAX_JUDGED: Final = 50
# A policy begins with this much, and never saves up more than so many calls have earned.
_FIRST: Final = 4.0
_MOST_EARNED: Final = 40.0


class PreloadRecord:
    """Each rule's precision as it is lived, and the budget of calls that nobody came for.

    A rule that is surely right less often than the floor foresees on, without calling, until it is right
    again. The budget: each of the agent's own calls earns a share of a wasted one; a call made early
    takes what it is expected to waste, gives it back when it is claimed, and takes the rest when it is not.
    """

    def __init__(self, floor: float, share: float) -> None:
        self._floor = floor
        self._share = share
        self._left = _FIRST if share > 0 else 0.0
        self._most = max(_MOST_EARNED * share, self._left)
        self._judged: dict[int, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def earn(self) -> None:
        """The agent made a call of its own."""
        with self._lock:
            self._left = min(self._most, self._left + self._share)

    def spend(self, cost: float) -> bool:
        """Take the expected waste of one call made early (0 to 1), if there is that much."""
        with self._lock:
            if self._left <= 0.0 or self._left < cost:
                return False
            self._left -= cost
            return True

    def settle(self, cost: float, *, wasted: bool) -> None:
        """A call made early at that cost was claimed, or nobody came for it."""
        with self._lock:
            self._left = min(self._most, self._left + (cost - 1.0 if wasted else cost))

    def judge(self, rule: int, *, right: bool) -> None:
        """What a rule foresaw came, or did not."""
        with self._lock:
            tried, came = self._judged.get(rule, (0.0, 0.0))
            if tried >= MAX_JUDGED:
                tried, came = tried / 2, came / 2
            self._judged[rule] = (tried + 1, came + right)

    def good(self, rule: int) -> bool:
        """Tell whether the rule may go on calling."""
        tried, came = self._judged.get(rule, (0.0, 0.0))
        slack = 1.64 * sqrt(tried * self._floor * (1.0 - self._floor))
        return tried < MIN_JUDGED or came + slack >= self._floor * tried

    def cost(self, rule: int, precision: float) -> float:
        """Return what a call of the rule is expected to waste, from its mined precision and what was lived."""
        tried, came = self._judged.get(rule, (0.0, 0.0))
        return 1.0 - (came + MIN_JUDGED * precision) / (tried + MIN_JUDGED)
