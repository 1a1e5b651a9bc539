"""What an optimization did in one run: counts in, attributes on the command's span out."""

from __future__ import annotations

import threading

from otel_perfopt.conventions import policy_attribute
from otel_perfopt.signal.calls import RunContext

_SLOT = "perfopt.act.tally"


class RunTally:
    """Counts of one run by attribute name, each kept as a span attribute of the command."""

    __slots__ = ("_counts", "_lock")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, name: str, amount: int) -> int:
        """Add and return the sum so far."""
        with self._lock:
            total = self._counts[name] = self._counts.get(name, 0) + amount
            return total


def count(run: RunContext, policy: str, field: str, amount: int = 1) -> None:
    """Add `amount` to `perfopt.policy.<policy>.<field>` of the run."""
    count_attribute(run, policy_attribute(policy, field), amount)


def count_attribute(run: RunContext, name: str, amount: int = 1) -> None:
    """Add `amount` to an attribute of the run."""
    tally = run.slots.get(_SLOT)
    if tally is None:
        tally = run.slots.setdefault(_SLOT, RunTally())
    total = tally.add(name, amount)
    if run.span.is_recording():
        run.span.set_attribute(name, total)
