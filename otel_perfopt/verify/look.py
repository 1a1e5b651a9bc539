"""A comparison as it stands at one moment: what was counted and concluded, as plain values for others to tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.decide.decision import Decision
from otel_perfopt.verify.comparison_plan import ComparisonPlan
from otel_perfopt.verify.criterion import Criterion
from otel_perfopt.verify.failure_eprocess import EventCounts
from otel_perfopt.verify.verdict import Conclusion


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a comparison.

    `harmed` says of each criterion, in their order, whether its harm is shown at `harm_alpha`;
    `holds_back` that the policy is active, so that no limit ends the comparison.
    """

    decision: Decision
    plan: ComparisonPlan
    criteria: tuple[Criterion, ...]
    harmed: tuple[bool, ...]
    harm_alpha: float
    enrolments: EventCounts
    mismatch: bool
    conclusion: Conclusion
    left_out: Mapping[str, int]
    holds_back: bool

    @property
    def units(self) -> tuple[int, int]:
        """Units enrolled in treatment and in baseline."""
        return self.enrolments.totals
