"""What the agents of a home folder did and how each policy compares: telemetry files in, verdicts out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from otel_perfopt.decide.decision import Decision
from otel_perfopt.decide.observation import Observation
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.publish import decisions_in_force
from otel_perfopt.decide.state import PolicyState, State
from otel_perfopt.execution.builder import executions_of
from otel_perfopt.execution.model import Execution
from otel_perfopt.loop.plan import comparison_plan
from otel_perfopt.loop.shadow_watch import SHADOW, ShadowWatch
from otel_perfopt.measure.price import PriceTable, priced
from otel_perfopt.measure.priced_source import prices_of
from otel_perfopt.signal.otlp_tail import OtlpTail
from otel_perfopt.signal.source import ReadTally
from otel_perfopt.verify.comparison import compare
from otel_perfopt.verify.units import UnitTable
from otel_perfopt.verify.verdict import Conclusion, Unit, Verdict

TELEMETRY_FOLDER = "telemetry"


@dataclass(frozen=True, slots=True)
class Standing:
    """One policy's comparison now: its verdict and units since it was exposed, and what the life cycle is told."""

    verdict: Verdict | None
    units: tuple[Unit, ...]
    observation: Observation


class Observatory:
    """Follows the telemetry of a home folder; nothing here changes where a policy stands."""

    def __init__(self, home: Path, prices: PriceTable | None = None) -> None:
        self._tail = OtlpTail(home / TELEMETRY_FOLDER)
        self._units = UnitTable()
        self._shadow = ShadowWatch()
        self._prices = prices or prices_of(home)

    @property
    def tally(self) -> ReadTally:
        """What was read, and what could not be."""
        return self._tail.tally

    def look(self, now_ns: int) -> Sequence[Execution]:
        """Read what is new and return the runs that are complete since the last look."""
        fresh: list[Execution] = []
        for batch in self._tail.read(now_ns):
            for execution in executions_of(batch):
                if not execution.finished:
                    continue
                run = priced(execution, self._prices)
                self._units.observe(run)
                self._shadow.observe(run)
                fresh.append(run)
        return fresh

    def standing(self, status: PolicyStatus, policies: PolicySet, now_ns: int) -> Standing:
        """Return how one policy compares in its present run of exposure."""
        state = status.state
        decisions = decisions_in_force((status,), policies.boundaries)
        shadow = self._shadow.report(status.name, state.digest, state.since_ns) if state.stage == SHADOW else None
        if not decisions or not state.is_exposed:
            return Standing(None, (), Observation(shadow=shadow, since_ns=state.since_ns))
        # A digest that is tried again starts anew: earlier units belong to the earlier trial.
        unit = status.policy.spec.rollout.unit
        units = tuple(self._units.units(status.name, state.digest, state.exposed_ns, unit))
        verdict = self._verdict(decisions[0], status, units, now_ns)
        if state.state is State.ACTIVE and verdict.conclusion is not Conclusion.WORSE:
            verdict = self._worse_since_promoted(decisions[0], status, units, now_ns) or verdict
        return Standing(verdict, units, _observation(verdict, units, state))

    def _worse_since_promoted(
        self, decision: Decision, status: PolicyStatus, units: Sequence[Unit], now_ns: int
    ) -> Verdict | None:
        """Return the verdict on the hold-back alone where it shows harm.

        What the canary showed says nothing against a change since, and would outweigh it for ever:
        promotion starts a second test, with an error of at most alpha of its own.
        """
        since = [unit for unit in units if unit.stage == decision.stage]
        verdict = self._verdict(decision, status, since, now_ns)
        return verdict if verdict.conclusion is Conclusion.WORSE else None

    def _verdict(self, decision: Decision, status: PolicyStatus, units: Sequence[Unit], now_ns: int) -> Verdict:
        state, spec = status.state, status.policy.spec
        exclusions = self._units.exclusions(status.name, state.digest, state.exposed_ns, spec.rollout.unit)
        return compare(decision, comparison_plan(spec), units, now_ns, exclusions)


def _observation(verdict: Verdict, units: Sequence[Unit], state: PolicyState) -> Observation:
    return Observation(
        conclusion=str(verdict.conclusion),
        reason=verdict.reason,
        stage_units=sum(unit.stage == state.stage for unit in units),
        total_units=len(units),
        mismatch=any(metric.role == "sample_ratio" and metric.harmed for metric in verdict.metrics),
        since_ns=state.since_ns,
    )
