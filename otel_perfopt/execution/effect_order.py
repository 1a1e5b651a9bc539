"""The order that effects on the world impose: tool calls as they end in, the calls a next one must follow out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from otel_perfopt.execution.model import Step, ToolEffects

_ANYTHING = ""


def touched(step: Step) -> str:
    """Return the one resource a call touches, or an empty string when it may touch any."""
    return _ANYTHING if step.effects is ToolEffects.UNKNOWN else step.resource


def may_write(step: Step) -> bool:
    """Tell whether a call may change something; unknown effects may."""
    return step.effects is not ToolEffects.READ


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
            return self._writes | self._conflicting_reads(resource)
        if resource == _ANYTHING:
            return set(self._writes)
        return self._writes_of.get(resource, set()) | self._writes_of.get(_ANYTHING, set())

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
        places = list(self._reads_of) if resource == _ANYTHING else (resource, _ANYTHING)
        for place in places:
            self._reads_of.get(place, set()).difference_update(followed)

    def _conflicting_reads(self, resource: str) -> set[str]:
        if resource == _ANYTHING:
            return set().union(*self._reads_of.values())
        return self._reads_of.get(resource, set()) | self._reads_of.get(_ANYTHING, set())
