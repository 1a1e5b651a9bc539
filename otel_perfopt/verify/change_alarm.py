"""Whether a stream of values has moved: values one by one in, the moment it is seen out."""

from __future__ import annotations

import math

REFERENCE_UNITS = 200
_DRIFT = 0.25
_LIMIT = 25.0


class ChangeAlarm:
    """A two-sided cumulative sum (Page 1954) of logarithms against their own first 200.

    In units of their standard deviation: a move of half of one is seen after about 100 values; without any
    there is a false alarm in tens of thousands. It decides nothing: it only says that it is time to compare again.
    """

    def __init__(self) -> None:
        self._count = 0
        self._total = self._squares = 0.0
        self._up = self._down = 0.0
        self.raised = False

    def observe(self, value: float) -> None:
        """Take one value into account; what has no logarithm is left out."""
        if not 0.0 < value < math.inf or self.raised:
            return
        log = math.log(value)
        if self._count < REFERENCE_UNITS:
            self._count += 1
            self._total += log
            self._squares += log * log
            return
        mean = self._total / self._count
        spread = math.sqrt(max(1e-12, self._squares / self._count - mean * mean))
        moved = max(-5.0, min(5.0, (log - mean) / spread))
        self._up = max(0.0, self._up + moved - _DRIFT)
        self._down = max(0.0, self._down - moved - _DRIFT)
        self.raised = max(self._up, self._down) > _LIMIT
