"""A cache's hit in, its microseconds block by block out: one number a line for each line read."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

CALLS = 200


def measure(hit: Callable[[], object]) -> None:
    """Take one block of hits for every line of standard input, so that rivals can be asked in turn."""
    for _ in range(CALLS):
        hit()
    print("READY", flush=True)
    for _ in sys.stdin:
        began = time.process_time_ns()
        for _ in range(CALLS):
            hit()
        print((time.process_time_ns() - began) / CALLS / 1000, flush=True)
