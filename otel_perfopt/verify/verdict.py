"""The types room 7 hands on: units as they were observed, and what was concluded from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.decide.decision import Decision


class Conclusion(str, Enum):
    """What may be concluded; `waiting` means not enough data yet, which is neither success nor failure."""

    BETTER = "better"
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"
    WAITING = "waiting"

    __str__ = str.__str__


@dataclass(frozen=True, slots=True)
class Unit:
    """One enrolled unit (a conversation): its arm under one policy and one value a metric.

    `values` are keyed by metric: `latency` (mean seconds a command), `tokens`, `cost_usd`,
    `task_failure` (0 or 1), …; a metric without data is absent, not zero. `user_id` is
    whose it was, `segment` what kind of user and `preference` what that user prefers, empty where nobody says so.
    """

    unit_id: str
    policy: str
    digest: str
    stage: str
    arm: str
    allocation: float
    first_ns: int
    values: Mapping[str, float] = field(default_factory=dict)
    user_id: str = ""
    segment: str = ""
    preference: str = ""


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric's part in a verdict: its role, the relative effect with its interval, and the evidence for it.

    `role` is `goal`, `guardrail` or `sample_ratio`; `effect` is treatment over baseline minus one
    (−0.3 = 30 % less); `harmed` and `held` say whether harm, or non-inferiority, has been shown;
    `e_value` is the harm test's evidence against its threshold `1/alpha`. `effect` is a difference, not a
    ratio, where `absolute` is set. A guardrail is `worse` when harmed, `better` when it held (no worse
    than tolerated), else `waiting`. `limit` is the tolerated or required change; `treatment_units` and
    `baseline_units` are those whose values took part.
    """

    metric: str
    role: str
    conclusion: Conclusion
    reason: str
    effect: Interval | None = None
    harmed: bool = False
    held: bool = False
    e_value: float | None = None
    threshold: float | None = None
    absolute: bool = False
    limit: float | None = None
    treatment_units: int = 0
    baseline_units: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison says now about one decision, valid however often one looks.

    `would_change` says in a sentence what would change it; `left_out` counts units and values that
    were not used, by reason.
    """

    decision: Decision
    conclusion: Conclusion
    reason: str
    treatment_units: int
    baseline_units: int
    metrics: tuple[MetricResult, ...] = ()
    would_change: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
