"""The types of a recommendation: its impact, prediction, implementation plan and monitoring set-up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_perfopt.analyse.finding import Evidence, Interval


@dataclass(frozen=True, slots=True)
class Impact:
    """Whom a change touches and how much: shares are of all runs, risks are for people to read.

    `touches` names commands, tools and models; `runs_a_day` is None without a clock.
    """

    touches: Mapping[str, tuple[str, ...]]
    runs: int
    share_of_runs: float | None
    runs_a_day: float | None
    risks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the change should bring: `share` of all runs' `metric`; None where nothing is claimed.

    `bound` is the most that anything of the kind could bring. `upper_bound` marks a share that is
    itself a bound; `basis` says how it was come by.
    """

    metric: str
    share: Interval | None
    bound: float | None
    upper_bound: bool
    basis: str


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step of a plan: what is done, on which share of the units, and what must hold before the next."""

    what: str
    exposure: float
    until: str


@dataclass(frozen=True, slots=True)
class Implementation:
    """How to bring the change in: the policy's type and parameters, its steps and how many units a verdict needs.

    `expected_units` counts both arms together, `expected_days` at the present load; None where the
    size or spread of the effect is not known.
    """

    optimization: str
    parameters: Mapping[str, object]
    match: Mapping[str, tuple[str, ...]]
    steps: tuple[PlanStep, ...]
    expected_units: int | None
    expected_days: float | None


@dataclass(frozen=True, slots=True)
class Monitor:
    """One thing to watch: the metric (OpenTelemetry name and unit), the alert's name, and when it should speak."""

    metric: str
    unit: str
    alert: str
    when: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One remedy and the findings it answers, by their labels: impact, prediction, plan and monitoring."""

    title: str
    reason: str
    findings: tuple[str, ...]
    impact: Impact
    prediction: Prediction
    implementation: Implementation
    monitoring: tuple[Monitor, ...]
    evidence: tuple[Evidence, ...] = field(default=())
