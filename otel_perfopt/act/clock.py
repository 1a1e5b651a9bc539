"""Where the time comes from: nothing in, two readings in nanoseconds out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall time (Unix) decides about leases, which another machine may have stamped; durations are monotonic."""

    wall_ns: Callable[[], int] = time.time_ns
    monotonic_ns: Callable[[], int] = time.monotonic_ns


SYSTEM_CLOCK = Clock()
