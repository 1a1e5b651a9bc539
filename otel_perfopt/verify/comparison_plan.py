"""What a comparison must show and how long it may take: a policy's goal, guardrails and limits, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Goal:
    """The metric that must improve, and by how much to the good: a share (0.1 = 10 %) or, if given, an amount.

    `higher_is_better` None takes the metric's own direction.
    """

    metric: str
    improve: float = 0.0
    improve_absolute: float | None = None
    higher_is_better: bool | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.improve < 1.0:
            raise ValueError(f"goal {self.metric}: improve must be at least 0 and below 1, not {self.improve}")
        if self.improve_absolute is not None and self.improve_absolute < 0.0:
            raise ValueError(f"goal {self.metric}: improve_absolute must not be negative")


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A metric that may get worse by at most a share (`max_relative`) or an amount (`max_absolute`), not both.

    For events (task_failure) an amount is a difference of rates: 0.1 = 10 percentage points. For
    `fault` it is the number of treatment units with a fault that is still tolerated.
    """

    metric: str
    max_relative: float | None = None
    max_absolute: float | None = None
    higher_is_better: bool | None = None

    def __post_init__(self) -> None:
        if (self.max_relative is None) == (self.max_absolute is None):
            raise ValueError(f"guardrail {self.metric}: give either max_relative or max_absolute")
        if self.tolerance < 0.0:
            raise ValueError(f"guardrail {self.metric}: the tolerance must not be negative, not {self.tolerance}")

    @property
    def tolerance(self) -> float:
        """The tolerated change to the bad, in whichever form it was given."""
        return self.max_absolute if self.max_absolute is not None else (self.max_relative or 0.0)


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """Everything a verdict depends on but the data; fixed before the first unit.

    Each harm test runs at `alpha` over their number, each claim of benefit at `alpha`. `min_units` and
    `max_units` count both arms; `min_units_each` is what a benefit claim on means needs in each arm.
    Units that start in a stage's first `warmup_s` seconds count for failures, not for means.
    In each stage the first `freeze_units` units freeze the p99 that arithmetic means are winsorised at,
    and the first `freeze_units` baseline units the p95 that exceedances are counted against, unless
    `frozen` has the value, by metric. `target_units` (both arms) is where intervals of means are
    tightest; it may be any number, but must not follow the data. `on_inconclusive` is what the life cycle will do: `revert` or `hold`.
    """

    goal: Goal
    guardrails: tuple[Guardrail, ...] = ()
    alpha: float = 0.05
    min_units: int = 100
    max_units: int = 8000
    max_duration_s: float = 14 * 86_400.0
    warmup_s: float = 0.0
    min_units_each: int = 100
    freeze_units: int = 50
    target_units: float = 500.0
    sample_ratio_alpha: float = 0.01
    frozen: Mapping[str, float] = field(default_factory=dict)
    on_inconclusive: str = "revert"

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 0.5:
            raise ValueError(f"alpha must lie between 0 and 0.5, not {self.alpha}")
        if self.target_units <= 0.0 or self.freeze_units < 2:
            raise ValueError("target_units must be positive and freeze_units at least 2")
        names = [guardrail.metric for guardrail in self.guardrails]
        if len(set(names)) < len(names):
            raise ValueError("each metric can be a guardrail once")
