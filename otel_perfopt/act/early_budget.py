"""Whether one more call may be made early: the budgets it draws on and its command in, yes or no out; never waits."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from otel_perfopt.act.clock import Clock
from otel_perfopt.decide.early_share import EarlyShare

MAX_BUCKETS: Final = 512
# Above this part of a minute's budget nobody is short of it, so any command may draw on it beyond its share.
_PLENTY: Final = 0.5
_ALL: Final = ""


class _Bucket:
    """What is left of a budget or a share; it fills up as time goes by, to a minute's worth and at least one call."""

    __slots__ = ("left", "seen_ns")

    def __init__(self, left: float, now_ns: int) -> None:
        self.left = left
        self.seen_ns = now_ns

    def fill(self, per_minute: float, now_ns: int) -> float:
        most = max(1.0, per_minute)
        self.left = min(most, self.left + max(0, now_ns - self.seen_ns) / 6e10 * per_minute)
        self.seen_ns = now_ns
        return most


class EarlyBudgets:
    """All budgets of one process: 512 buckets of commands, the longest unused forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.after_fork()

    def after_fork(self) -> None:
        """Begin anew in the child."""
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._lock = threading.Lock()

    def take(self, budgets: Sequence[EarlyShare], command: str | None) -> bool:
        """Take one call from every budget, or from none of them; without any budget there is nothing to ask.

        A call of no command in particular (None) is bounded by the budget alone.
        """
        if not budgets:
            return True
        now_ns = self._clock.monotonic_ns()
        with self._lock:
            drawn = [bucket for budget in budgets for bucket in self._drawn(budget, command, now_ns)]
            if any(bucket is None for bucket in drawn):
                return False
            for bucket in drawn:
                if bucket is not None:
                    bucket.left -= 1.0
            return True

    def _drawn(self, budget: EarlyShare, command: str | None, now_ns: int) -> list[_Bucket | None]:
        """Return the buckets that one call is taken from; None among them says that it may not be made."""
        whole = self._bucket(budget.name, _ALL, budget.per_minute, now_ns)
        most = whole.fill(budget.per_minute, now_ns)
        if whole.left < 1.0:
            return [None]
        if command is None:
            return [whole]
        share = budget.per_minute * budget.of(command)
        own = self._bucket(budget.name, command or "?", share, now_ns)
        own.fill(share, now_ns)
        if own.left >= 1.0:
            return [whole, own]
        return [whole] if whole.left > _PLENTY * most else [None]

    def _bucket(self, name: str, command: str, per_minute: float, now_ns: int) -> _Bucket:
        found = self._buckets.pop((name, command), None) or _Bucket(max(1.0, per_minute), now_ns)
        # Put back last: the first is the one that was not used for longest.
        self._buckets[name, command] = found
        while len(self._buckets) > MAX_BUCKETS:
            self._buckets.pop(next(iter(self._buckets)))
        return found
