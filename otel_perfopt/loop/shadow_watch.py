"""What shadow showed so far: `Execution`s in, a `ShadowReport` for each policy and digest out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from otel_perfopt import conventions as c
from otel_perfopt.decide.observation import Retained, ShadowReport
from otel_perfopt.execution.model import Execution
from otel_perfopt.verify.retained import retained_share

SHADOW = "shadow"
MAX_TRIALS = 64
MAX_UNITS = 2000  # beyond it the oldest are forgotten
_WATCHED = (c.POLICY_TRUE_HITS, c.POLICY_FALSE_HITS, c.POLICY_MISSES)


@dataclass(slots=True)
class _Seen:
    """One run: when it began, what was watched, and, of what its replies used, how many marks there were and were kept."""

    start_ns: int
    report: ShadowReport
    unit: str
    used: int
    kept: int


@dataclass(slots=True)
class _Trial:
    """Runs that nobody asked about yet, and the sum of those since `since_ns`; by unit what replies used and what was kept."""

    since_ns: int = 0
    sum: ShadowReport | None = None
    fresh: list[_Seen] = field(default_factory=list)
    units: OrderedDict[str, tuple[int, int]] = field(default_factory=OrderedDict)

    def take(self, seen: _Seen) -> None:
        """Add a run."""
        self.sum = _plus(self.sum, seen.report)
        if seen.used:
            used, kept = self.units.get(seen.unit, (0, 0))
            self.units[seen.unit] = used + seen.used, kept + min(seen.used, seen.kept)
            if len(self.units) > MAX_UNITS:
                self.units.popitem(last=False)

    def report(self) -> ShadowReport | None:
        """Return the sum, with the share that the units kept."""
        found = retained_share([kept / used for used, kept in self.units.values()])
        if self.sum is None or found is None:
            return self.sum
        return replace(self.sum, retained=Retained(found.units, found.mean, found.low, found.high))


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
                trial.fresh.append(_seen(execution, policy))
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
            trial.units.clear()
        for seen in trial.fresh:
            if seen.start_ns >= since_ns:
                trial.take(seen)
        trial.fresh.clear()
        return trial.report()


def _seen(execution: Execution, policy: str) -> _Seen:
    report = ShadowReport(
        calls=max(1, _total(execution, policy, _WATCHED)),
        wrong_results=_total(execution, policy, (c.POLICY_FALSE_HITS,)),
        faults=_total(execution, policy, (c.POLICY_FAULTS,)),
    )
    used, kept = (_total(execution, policy, (name,)) for name in (c.POLICY_USED, c.POLICY_USED_KEPT))
    unit = execution.conversation_id or execution.trace_id
    return _Seen(execution.command.start_ns, report, unit, used, kept)


def _plus(sum_: ShadowReport | None, more: ShadowReport) -> ShadowReport:
    if sum_ is None:
        return more
    return ShadowReport(sum_.calls + more.calls, sum_.wrong_results + more.wrong_results, sum_.faults + more.faults)


def _total(execution: Execution, policy: str, fields: Iterable[str]) -> int:
    values = (execution.command.attributes.get(c.policy_attribute(policy, field)) for field in fields)
    return sum(value for value in values if isinstance(value, int))
