"""The latest values of a stream kept in order of size: values in, their sorted list out, at the cost of a search a value."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable


class RecentValues:
    """At most `limit` numbers; each further one takes the place of the oldest."""

    __slots__ = ("_limit", "in_order", "sorted")

    def __init__(self, limit: int, known: Iterable[float] = ()) -> None:
        self._limit = limit
        self.in_order = deque(known, limit)
        self.sorted = sorted(self.in_order)

    def add(self, value: float) -> None:
        """Take a number in (NaN has no place in an order and must not be given)."""
        if len(self.in_order) == self._limit:
            del self.sorted[bisect_left(self.sorted, self.in_order[0])]
        self.in_order.append(value)
        insort(self.sorted, value)
