"""What shadow showed so far: `Execution`s in, a `ShadowReport` for each policy and digest out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from otel_perfopt import conventions as c
from otel_perfopt.decide.observation import ShadowReport
from otel_perfopt.execution.model import Execution

SHADOW = "shadow"
_WATCHED = (c.POLICY_TRUE_HITS, c.POLICY_FALSE_HITS, c.POLICY_MISSES)


@dataclass(slots=True)
class _Seen:
    calls: int = 0
    wrong: int = 0
    faults: int = 0


class ShadowWatch:
    """Adds up, by policy and digest, what runs in the shadow stage say on their commands.

    A run in which the optimization found no call to judge still counts as one watched.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        for policy, assignment in execution.arms.items():
            if assignment.stage == SHADOW:
                seen = self._seen.setdefault((policy, assignment.digest), _Seen())
                seen.calls += max(1, _total(execution, policy, _WATCHED))
                seen.wrong += _total(execution, policy, (c.POLICY_FALSE_HITS,))
                seen.faults += _total(execution, policy, (c.POLICY_FAULTS,))

    def report(self, policy: str, digest: str) -> ShadowReport | None:
        """Return what shadow showed, or None when nothing was watched yet."""
        seen = self._seen.get((policy, digest))
        return ShadowReport(seen.calls, seen.wrong, seen.faults) if seen else None


def _total(execution: Execution, policy: str, fields: Iterable[str]) -> int:
    values = (execution.command.attributes.get(c.policy_attribute(policy, field)) for field in fields)
    return sum(value for value in values if isinstance(value, int))
