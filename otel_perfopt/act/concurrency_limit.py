"""How many calls a provider bears at once: what became of calls in, a limit out. It computes; `CallQueue` enforces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LimitBounds:
    """The limit starts at `initial` and stays between `least` and `most`; `backoff` is what overload leaves of it."""

    initial: int = 8
    least: int = 1
    most: int = 64
    backoff: float = 0.7


class AimdLimit:
    """Additive increase, multiplicative decrease (Chiu & Jain 1989), the rule that TCP shares lines by.

    Each call that went well while the limit was used raises it by its reciprocal, so by one a round. An
    overload lowers it at once, but only once for all the calls that were under way when it was
    lowered: they say the same thing.
    """

    def __init__(self, bounds: LimitBounds) -> None:
        self._bounds = bounds
        self._limit = float(bounds.initial)
        self._lowered_ns = -1

    @property
    def limit(self) -> int:
        """How many calls may be under way."""
        return int(self._limit)

    def succeeded(self, in_flight: int) -> None:
        """A call went well while `in_flight` were under way; an unused limit says nothing about a higher one."""
        if in_flight * 2 >= self._limit:
            self._limit = min(float(self._bounds.most), self._limit + 1.0 / self._limit)

    def overloaded(self, began_ns: int, now_ns: int) -> None:
        """A call that began then was refused, or ran out of time."""
        if began_ns > self._lowered_ns:
            self._lowered_ns = now_ns
            self._limit = max(float(self._bounds.least), self._limit * self._bounds.backoff)
