"""The order that effects on the world impose: tool calls as they end in, the calls a next one must follow out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from otel_perfopt.execution.model import Step, ToolEffects

ANYTHING = ""


def touched(step: Step) -> str:
    """Return the one resource a call touches, or an empty string when it may touch any."""
    return ANYTHING if step.effects is ToolEffects.UNKNOWN else step.resource


def may_write(step: Step) -> bool:
    """Tell whether a call may change something; unknown effects may."""
    return step.effects is not ToolEffects.READ


def may_meet(first: str, second: str) -> bool:
    """Tell whether two resources may be the same thing, or one part of the other.

    Surely apart are only rows of one kind with different ids (`order_id=1`, `order_id=2`) and paths
    neither of which lies in, or ends with, the other.
    """
    if ANYTHING in (first, second) or first == second:
        return True
    row, other_row = _row_kind(first), _row_kind(second)
    if row or other_row:
        return row != other_row
    a, b = f"/{first.strip('/')}/", f"/{second.strip('/')}/"
    if "/../" in a + b or "/./" in a + b:
        return True
    return a.startswith(b) or b.startswith(a) or a.endswith(b) or b.endswith(a)


def _row_kind(resource: str) -> str:
    key, equals, _ = resource.partition("=")
    return key if equals and key.endswith("_id") and "/" not in key else ""


@dataclass(slots=True)
class EffectOrder:
    """What has ended so far, as far as later calls must follow it.

    Writes keep their order; a read follows the writes, and a write the reads, that may touch the
    same resource. Each answer leaves out what another of its members already follows.
    """

    _writes: set[str] = field(default_factory=set)
    _writes_of: dict[str, set[str]] = field(default_factory=dict)
    _reads_of: dict[str, set[str]] = field(default_factory=dict)

    def must_follow(self, step: Step) -> set[str]:
        """Return the span ids of ended calls that `step` must follow."""
        resource = touched(step)
        if may_write(step):
            return self._writes | _meeting(self._reads_of, resource)
        return set(self._writes) if resource == ANYTHING else _meeting(self._writes_of, resource)

    def ended(self, step: Step, followed: Collection[str]) -> None:
        """Take into account that `step` ended, which itself had to follow `followed`."""
        resource = touched(step)
        if not may_write(step):
            self._reads_of.setdefault(resource, set()).add(step.span_id)
            return
        self._writes.difference_update(followed)
        self._writes.add(step.span_id)
        known = self._writes_of.setdefault(resource, set())
        known.difference_update(followed)
        known.add(step.span_id)
        for place, reads in list(self._reads_of.items()):
            reads.difference_update(followed)
            if not reads:
                del self._reads_of[place]


def _meeting(ids_by_resource: dict[str, set[str]], resource: str) -> set[str]:
    return set[str]().union(*(ids for place, ids in ids_by_resource.items() if may_meet(place, resource)))
