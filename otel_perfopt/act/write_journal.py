"""Whether anything may have changed: beginnings and ends of writing calls in, quiet or not since a moment out."""

from __future__ import annotations

import threading
from collections.abc import Callable

from otel_perfopt.act.selection import ToolKey

MAX_KEYS = 256
# Stands for writes of which nothing is known, and for all tools beyond the limit; every question about it is answered with yes.
ANY_WRITE = ToolKey("\0others")

Touches = Callable[[ToolKey], bool]


class WriteJournal:
    """Every call of this process that may write, so that a read made earlier is known to be out of date.

    A write counts from its beginning to its end: what was read in between may be older or newer than
    the write, so it is neither kept nor handed over.
    """

    def __init__(self) -> None:
        self._moment = 0
        self._active: dict[ToolKey, int] = {}
        self._last: dict[ToolKey, int] = {}
        self._disturbed = 0
        self._lock = threading.Lock()

    def now(self) -> int:
        """Return the present moment, to be asked about later."""
        return self._moment

    def begin(self, key: ToolKey) -> ToolKey:
        """A call that may write begins; give what this returns to `end`."""
        with self._lock:
            if key not in self._last and len(self._last) >= MAX_KEYS:
                key = ANY_WRITE
            self._moment += 1
            self._last[key] = self._moment
            self._active[key] = self._active.get(key, 0) + 1
            return key

    def end(self, key: ToolKey) -> None:
        """The call has returned or raised."""
        with self._lock:
            self._moment += 1
            self._last[key] = self._moment
            left = self._active.get(key, 0) - 1
            if left > 0:
                self._active[key] = left
            else:
                self._active.pop(key, None)

    def disturb(self) -> None:
        """A write may have gone unnoticed: nothing from before now can be trusted."""
        with self._lock:
            self._moment += 1
            self._disturbed = self._moment

    def quiet_since(self, moment: int, touches: Touches) -> bool:
        """Tell whether no write that `touches` what was read has been under way since `moment`."""
        if self._moment == moment and not self._active:
            return True
        with self._lock:
            if self._disturbed > moment:
                return False
            suspects = [key for key, last in self._last.items() if last > moment or key in self._active]
        return not any(key is ANY_WRITE or touches(key) for key in suspects)

    def after_fork(self) -> None:
        """Writes of the parent's other threads never end here."""
        self._lock = threading.Lock()
        self._active = {}
        self.disturb()
