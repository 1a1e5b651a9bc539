"""How many extra calls are allowed: calls made in, whether one more may be added out."""

from __future__ import annotations

import threading

_MOST_SAVED = 10.0


class CallBudget:
    """Each call earns `share` of an extra one; at most ten are saved up, so a calm day buys no storm."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._saved = min(1.0, share * _MOST_SAVED)
        self._lock = threading.Lock()

    def earn(self) -> None:
        """A call was made that anybody asked for."""
        with self._lock:
            self._saved = min(_MOST_SAVED, self._saved + self._share)

    def spend(self) -> bool:
        """Take one extra call, if there is one."""
        with self._lock:
            if self._saved < 1.0:
                return False
            self._saved -= 1.0
            return True
