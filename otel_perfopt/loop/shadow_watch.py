"""What shadow showed so far: `Execution`s in, a `ShadowReport` for each policy and digest out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from otel_perfopt import conventions as c
from otel_perfopt.decide.observation import ShadowReport
from otel_perfopt.execution.model import Execution

SHADOW = "shadow"
MAX_TRIALS = 64
_WATCHED = (c.POLICY_TRUE_HITS, c.POLICY_FALSE_HITS, c.POLICY_MISSES)


@dataclass(slots=True)
class _Trial:
    """Runs that nobody asked about yet, with their start, and the sum of those since `since_ns`."""

    since_ns: int = 0
    sum: ShadowReport | None = None
    fresh: list[tuple[int, ShadowReport]] = field(default_factory=list)


class ShadowWatch:
    """Adds up, by policy and digest, what runs in the shadow stage say on their commands.

    A run in which the optimization found no call to judge still counts as one watched. Bounded: the
    digests seen longest ago are forgotten.
    """

    def __init__(self) -> None:
        self._trials: OrderedDict[tuple[str, str], _Trial] = OrderedDict()

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        for policy, assignment in execution.arms.items():
            if assignment.stage == SHADOW:
                key = (policy, assignment.digest)
                trial = self._trials.setdefault(key, _Trial())
                self._trials.move_to_end(key)
                trial.fresh.append((execution.command.start_ns, _report(execution, policy)))
                if len(self._trials) > MAX_TRIALS:
                    self._trials.popitem(last=False)

    def state(self) -> OrderedDict[tuple[str, str], _Trial]:
        """Return what it knows, as data from which another one goes on."""
        return self._trials

    def go_on(self, state: OrderedDict[tuple[str, str], _Trial]) -> None:
        """Go on where another one stood."""
        self._trials = state

    def report(self, policy: str, digest: str, since_ns: int = 0) -> ShadowReport | None:
        """Return what shadow showed since it began at `since_ns`, or None when nothing was watched yet.

        Runs before that belong to an earlier trial of the same digest: they are forgotten.
        """
        trial = self._trials.get((policy, digest))
        if trial is None:
            return None
        if trial.since_ns != since_ns:
            trial.since_ns, trial.sum = since_ns, None
        for start_ns, seen in trial.fresh:
            if start_ns >= since_ns:
                trial.sum = _plus(trial.sum, seen)
        trial.fresh.clear()
        return trial.sum


def _report(execution: Execution, policy: str) -> ShadowReport:
    return ShadowReport(
        calls=max(1, _total(execution, policy, _WATCHED)),
        wrong_results=_total(execution, policy, (c.POLICY_FALSE_HITS,)),
        faults=_total(execution, policy, (c.POLICY_FAULTS,)),
    )


def _plus(sum_: ShadowReport | None, more: ShadowReport) -> ShadowReport:
    if sum_ is None:
        return more
    return ShadowReport(sum_.calls + more.calls, sum_.wrong_results + more.wrong_results, sum_.faults + more.faults)


def _total(execution: Execution, policy: str, fields: Iterable[str]) -> int:
    values = (execution.command.attributes.get(c.policy_attribute(policy, field)) for field in fields)
    return sum(value for value in values if isinstance(value, int))
