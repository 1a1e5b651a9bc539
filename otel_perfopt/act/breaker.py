"""When an optimization must rest: its faults in, whether it may be used out."""

from __future__ import annotations

import threading
from enum import Enum

from otel_perfopt.act.clock import SYSTEM_CLOCK, Clock

FAULTS_TO_OPEN = 3
WINDOW_S = 60.0
REST_S = 30.0


class BreakerState(Enum):
    """Closed: used. Open: resting. Half-open: one call tries whether it works again."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Opens after `faults_to_open` faults within `window_s`, rests for `rest_s`, then lets one call try."""

    def __init__(
        self,
        clock: Clock = SYSTEM_CLOCK,
        *,
        faults_to_open: int = FAULTS_TO_OPEN,
        window_s: float = WINDOW_S,
        rest_s: float = REST_S,
    ) -> None:
        self._clock = clock
        self._faults_to_open = faults_to_open
        self._window_ns = int(window_s * 1e9)
        self._rest_ns = int(rest_s * 1e9)
        self.faults = 0
        self.state = BreakerState.CLOSED
        self._recent: list[int] = []
        self._opened_ns = 0
        self._lock = threading.Lock()

    def allow(self) -> bool:
        """Tell whether the optimization may be used now; in half-open only the first who asks may."""
        if self.state is BreakerState.CLOSED:
            return True
        with self._lock:
            now = self._clock.monotonic_ns()
            # A trial that never reported back (its thread died) must not keep the breaker shut for ever.
            if now - self._opened_ns < self._rest_ns:
                return False
            self.state = BreakerState.HALF_OPEN
            self._opened_ns = now
            return True

    def succeeded(self) -> None:
        """The optimization was used without a fault."""
        if self.state is BreakerState.HALF_OPEN:
            with self._lock:
                self.state = BreakerState.CLOSED
                self._recent.clear()

    def failed(self) -> None:
        """The optimization's own code failed."""
        with self._lock:
            now = self._clock.monotonic_ns()
            self.faults += 1
            self._recent = [then for then in self._recent if now - then < self._window_ns][-self._faults_to_open :]
            self._recent.append(now)
            if self.state is BreakerState.HALF_OPEN or len(self._recent) >= self._faults_to_open:
                self.state = BreakerState.OPEN
                self._opened_ns = now

    def after_fork(self) -> None:
        """Make the lock anew: another thread of the parent may have held it."""
        self._lock = threading.Lock()
