"""How carefully a policy is tried: the `rollout`, `goal` and `guardrails` mappings in, checked models out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator
from typing_extensions import Self

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.model_base import DeclaredModel, as_tuple, nearest
from otel_perfopt.decide.quantity import Duration, DurationOrZero, MarginText, Share, format_percent

MEAN = "mean"
BINARY = "binary"

# What can be compared, and whether it is a mean of amounts or a share of units that did something.
METRICS: Mapping[str, str] = {
    "latency": MEAN,
    "tokens": MEAN,
    "input_tokens": MEAN,
    "output_tokens": MEAN,
    "cost_usd": MEAN,
    "tool_calls": MEAN,
    "model_calls": MEAN,
    "task_failure": BINARY,
    "tool_error": BINARY,
    "latency_p95_exceed": BINARY,
    "dissatisfaction": BINARY,
}
_HOLDBACK = 0.05
_ROUNDING = 1e-9


def _known_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"{name!r} is no known metric{nearest(name, METRICS)}")
    return name


Metric = Annotated[str, AfterValidator(_known_metric), WithJsonSchema({"type": "string", "enum": list(METRICS)})]


class Step(DeclaredModel):
    """One step: `shadow` for a time with nobody exposed, or shares of units in `treatment` and `baseline`."""

    shadow_s: Duration | None = Field(default=None, alias="shadow")
    treatment: Share | None = None
    baseline: Share | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.shadow_s is not None:
            if self.treatment is not None or self.baseline is not None:
                raise ValueError("is either a shadow step or a canary step; split it in two")
        elif not self.treatment or not self.baseline:
            raise ValueError("needs shadow, or both treatment and baseline above 0%: one alone compares nothing")
        elif self.treatment + self.baseline > 1 + _ROUNDING:
            total = format_percent(self.treatment + self.baseline)
            raise ValueError(f"treatment and baseline together are {total} of all units; lower one")
        return self

    @property
    def allocation(self) -> Allocation:
        """The shares of units in each arm; nobody in a shadow step."""
        return Allocation(self.treatment or 0.0, self.baseline or 0.0)


class Limits(DeclaredModel):
    """When a step may end and when the comparison must: units are counted in each arm and over both.

    `min_units` is needed in each arm of a step before the next; at `max_units` in all, or after
    `max_duration_s`, what is not decided is inconclusive.
    """

    min_units: int = Field(default=100, ge=1, le=10_000_000)
    max_units: int = Field(default=8000, ge=2, le=100_000_000)
    max_duration_s: Duration = Field(default=14 * 86400.0, alias="maxDuration")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.max_units < 2 * self.min_units:
            raise ValueError(f"maxUnits counts both arms; make it {2 * self.min_units} or more, or lower minUnits")
        return self


_STEPS = (
    Step.model_validate({"shadow": "24h"}),
    Step.model_validate({"treatment": "5%", "baseline": "5%"}),
    Step.model_validate({"treatment": "50%", "baseline": "50%"}),
)


class Rollout(DeclaredModel):
    """The way from nobody to everybody; `holdback` is the share that stays baseline for good."""

    unit: Literal["conversation", "user", "process", "time_block"] = "conversation"
    warmup_s: DurationOrZero = Field(default=600.0, alias="warmup")
    steps: Annotated[tuple[Step, ...], BeforeValidator(as_tuple), Field(min_length=1, max_length=20)] = _STEPS
    limits: Limits = Limits()
    holdback: Share = _HOLDBACK
    on_inconclusive: Literal["revert", "hold"] = "revert"

    @model_validator(mode="after")
    def _only_grows(self) -> Self:
        if any(step.shadow_s is not None for step in self.steps[1:]):
            raise ValueError("only the first step may be shadow: once exposed, a policy goes on or back")
        shares = [step.treatment or 0.0 for step in self.canary_steps]
        if any(later < earlier for earlier, later in pairwise(shares)):
            raise ValueError("treatment shrinks from one step to the next; order the steps from small to large")
        return self

    @property
    def shadow_s(self) -> float | None:
        """Seconds in shadow before anybody is exposed; None without a shadow step."""
        return self.steps[0].shadow_s

    @property
    def canary_steps(self) -> tuple[Step, ...]:
        """The steps that expose somebody, in order."""
        return tuple(step for step in self.steps if step.shadow_s is None)

    @property
    def active_allocation(self) -> Allocation:
        """Everybody but the hold-back."""
        return Allocation(1.0 - self.holdback, self.holdback)


class Goal(DeclaredModel):
    """What must become better, and by which share at least."""

    metric: Metric
    improve: Share = 0.0


class Guardrail(DeclaredModel):
    """What must not become worse by more than a margin."""

    metric: Metric
    max_increase: MarginText

    @model_validator(mode="after")
    def _points_for_shares(self) -> Self:
        if self.max_increase.absolute and METRICS[self.metric] != BINARY:
            raise ValueError(f"{self.metric} is no share of units; write maxIncrease in percent, such as 5%")
        return self


class Rollback(DeclaredModel):
    """How long a digest that was taken back stays away."""

    cooldown_s: DurationOrZero = Field(default=7 * 86400.0, alias="cooldown")


DEFAULT_GUARDRAILS = (
    Guardrail.model_validate({"metric": "task_failure", "maxIncrease": "50%"}),
    Guardrail.model_validate({"metric": "latency_p95_exceed", "maxIncrease": "50%"}),
    Guardrail.model_validate({"metric": "cost_usd", "maxIncrease": "5%"}),
)
