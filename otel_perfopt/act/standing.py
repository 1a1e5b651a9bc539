"""What is in force here and now: the snapshot's source in, whether and how a rule applies to a run out."""

from __future__ import annotations

from collections.abc import Callable

from otel_perfopt.act.clock import Clock
from otel_perfopt.act.enrolment import Enrolment, Use, use_of
from otel_perfopt.act.process_unit import process_unit
from otel_perfopt.act.selection import Rule
from otel_perfopt.act.snapshot_source import InForce, SnapshotSource
from otel_perfopt.signal.calls import RunContext


class Standing:
    """The snapshot as it stands, and this process's own unit."""

    def __init__(self, source: SnapshotSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self.process_unit = process_unit()

    def in_force(self) -> InForce:
        """Return what is in force."""
        return self._source.current()

    def followed(self, in_force: InForce) -> bool:
        """Tell whether decisions may be applied now: not killed, within the lease, and a kill would be seen."""
        return in_force.followed(self._clock.wall_ns()) and not self._source.stalled()

    def use(self, enrolling: Callable[[RunContext, Rule, str], Enrolment], rule: Rule, run: RunContext) -> Use | None:
        """Return how a rule applies to a run, by the enrolment that `enrolling` gives."""
        return use_of(enrolling(run, rule, self.process_unit), rule)

    def after_fork(self) -> None:
        """Become the child's own; called in the child."""
        self.process_unit = process_unit()
