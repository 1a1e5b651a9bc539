"""Faults of our own code where the controller sees them: an exception in, a count and an event on the command's span out."""

from __future__ import annotations

from collections.abc import Mapping

from otel_perfopt import conventions
from otel_perfopt.act.breaker import Breaker
from otel_perfopt.act.clock import Clock
from otel_perfopt.act.run_tally import count_attribute
from otel_perfopt.conventions import policy_attribute
from otel_perfopt.signal.calls import RunContext
from otel_perfopt.signal.emit.faults import fault

# The part that chooses what applies to a call has a breaker of its own.
SELECTION = "selection"


class FaultLog:
    """One breaker an optimization; every fault is counted there, and reported with the run it happened in."""

    def __init__(self, names: tuple[str, ...], clock: Clock) -> None:
        self.breakers: Mapping[str, Breaker] = {name: Breaker(clock) for name in (SELECTION, *names)}

    def note(self, name: str, error: Exception, run: RunContext | None, policy: str = "") -> None:
        """Count a fault of the optimization `name`, acting for `policy` where one can be named; never raises."""
        try:
            breaker = self.breakers[name]
            breaker.failed()
            fault(f"act {name}", error)
            if run is not None:
                attribute = policy_attribute(policy, conventions.POLICY_FAULTS) if policy else conventions.FAULTS
                count_attribute(run, attribute)
                run.span.add_event(
                    conventions.FAULT_EVENT,
                    {
                        conventions.FAULT_OPTIMIZATION: name,
                        conventions.ERROR_TYPE: type(error).__qualname__,
                        conventions.BREAKER_STATE: breaker.state.value,
                    },
                )
        except Exception as reporting:
            # The span is the host's; a fault in reporting a fault is only counted.
            fault("act report", reporting)

    def after_fork(self) -> None:
        """Make the breakers' locks anew."""
        for breaker in self.breakers.values():
            breaker.after_fork()
