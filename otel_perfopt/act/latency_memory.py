"""How long calls took lately: durations in, any of their quantiles out, in bounded memory."""

from __future__ import annotations

import threading
from collections import deque

LEAST_KNOWN = 20
_REMEMBERED = 500


class LatencyMemory:
    """The last 500 durations of one kind of call."""

    def __init__(self) -> None:
        self._durations: deque[float] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()

    def observe(self, duration_s: float) -> None:
        """A call took this long."""
        with self._lock:
            self._durations.append(duration_s)

    def quantile(self, share: float) -> float | None:
        """Return the duration that this share of calls stayed below; None before twenty are known."""
        with self._lock:
            known = sorted(self._durations)
        if len(known) < LEAST_KNOWN:
            return None
        return known[min(len(known) - 1, int(share * len(known)))]
