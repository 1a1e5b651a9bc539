"""A stretch of time that is asked about."""

from __future__ import annotations

from dataclasses import dataclass

MIN_NS = 0
MAX_NS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Window:
    """From `start_ns` (included) to `end_ns` (excluded), Unix nanoseconds; by default everything."""

    start_ns: int = MIN_NS
    end_ns: int = MAX_NS
