"""Whether anything may have changed: beginnings and ends of writing calls in, quiet or not since a moment out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from otel_perfopt.act.call_scope import ANYTHING, CallScope
from otel_perfopt.act.selection import ToolKey

MAX_REMEMBERED = 1024
# Stands for a write of which nothing is known; every question about it is answered with yes.
ANY_WRITE = ToolKey("\0others")


@dataclass(slots=True, eq=False)
class Write:
    """One call that may write; `moment` is the last one at which it was under way."""

    key: ToolKey
    scope: CallScope = field(default=ANYTHING)
    moment: int = 0


Touches = Callable[[Write], bool]


class WriteJournal:
    """The calls of this process that may write, so that a read made earlier is known to be out of date.

    A write counts from its beginning to its end: what was read in between may be older or newer than
    the write, so it is neither kept nor handed over. Of writes that have ended the last 1,024 are
    remembered; nothing from before those is trusted.
    """

    def __init__(self) -> None:
        self._moment = 0
        self._active: set[Write] = set()
        self._ended: deque[Write] = deque()
        self._trusted_from = 0
        self._lock = threading.Lock()

    def now(self) -> int:
        """Return the present moment, to be asked about later."""
        return self._moment

    def begin(self, key: ToolKey, scope: CallScope = ANYTHING) -> Write:
        """A call that may write begins; give what this returns to `end`."""
        write = Write(key, scope)
        with self._lock:
            self._moment += 1
            self._active.add(write)
        return write

    def end(self, write: Write) -> None:
        """The call has returned or raised."""
        with self._lock:
            self._moment += 1
            write.moment = self._moment
            self._active.discard(write)
            self._ended.append(write)
            if len(self._ended) > MAX_REMEMBERED:
                self._trusted_from = max(self._trusted_from, self._ended.popleft().moment)

    def disturb(self) -> None:
        """A write may have gone unnoticed: nothing from before now can be trusted."""
        with self._lock:
            self._moment += 1
            self._trusted_from = self._moment

    def quiet_since(self, moment: int, touches: Touches) -> bool:
        """Tell whether no write that `touches` what was read has been under way since `moment`."""
        if self._moment == moment and not self._active:
            return True
        with self._lock:
            if self._trusted_from > moment:
                return False
            suspects = list(self._active)
            for write in reversed(self._ended):
                if write.moment <= moment:
                    break
                suspects.append(write)
        return not any(write.key is ANY_WRITE or touches(write) for write in suspects)

    def after_fork(self) -> None:
        """Writes of the parent's other threads never end here."""
        self._lock = threading.Lock()
        self._active = set()
        self.disturb()
