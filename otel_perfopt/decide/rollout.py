"""How carefully a policy is tried: the `rollout`, `goal` and `guardrails` mappings in, checked models out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator
from typing_extensions import Self

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.model_base import DeclaredModel, as_tuple, nearest
from otel_perfopt.decide.quantity import Duration, DurationOrZero, Margin, MarginText, Percent, Share, format_percent


@dataclass(frozen=True, slots=True)
class MetricWord:
    """What a policy may say of a metric: whether it is a share of units, and which way is better."""

    is_share: bool = False
    higher_is_better: bool = False


METRICS: Mapping[str, MetricWord] = {
    "latency": MetricWord(),
    "latency_p95_exceed": MetricWord(is_share=True),
    "tokens": MetricWord(),
    "cost_usd": MetricWord(),
    "task_failure": MetricWord(is_share=True),
    "tool_error": MetricWord(is_share=True),
    "interrupted": MetricWord(is_share=True),
    "completion": MetricWord(higher_is_better=True),
    "satisfaction": MetricWord(higher_is_better=True),
    "quality": MetricWord(higher_is_better=True),
    "relevance": MetricWord(higher_is_better=True),
    "accuracy": MetricWord(higher_is_better=True),
    "completeness": MetricWord(higher_is_better=True),
    "clarity": MetricWord(higher_is_better=True),
    "latency_spread": MetricWord(),
    "memory": MetricWord(),
    "start_time": MetricWord(),
}
_HOLDBACK = 0.05
MIN_RETAINED = 0.98
_ROUNDING = 1e-9
_M = TypeVar("_M", bound=DeclaredModel)


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
    """When a step may end and when the comparison must; units are counted over both arms.

    `min_units` is needed in a step before the next; at `max_units` in all steps together, or after
    `max_duration_s` of exposure, what is not decided is inconclusive. `min_retained` is the share of what
    replies used of a context that a shorter one must be shown to keep before anybody is exposed to it (98 % unless
    said otherwise; the lower bound counts).
    """

    min_units: int = Field(default=100, ge=2, le=10_000_000)
    max_units: int = Field(default=8000, ge=2, le=100_000_000)
    max_duration_s: Duration = Field(default=14 * 86400.0, alias="maxDuration")
    # None stays out of the digest, so that what was approved before is approved still.
    min_retained: Percent | None = None

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.max_units < self.min_units:
            raise ValueError(f"maxUnits is less than minUnits; make it {self.min_units} or more")
        return self


def _told_apart(unit: str) -> str:
    # A block is one unit: two hundred of them, the least for a verdict on means, are days in which each day's
    # swing lies between blocks; and a cache or a prompt's prefix lives on from one block into the next arm's.
    if unit == "time_block":
        raise ValueError(
            "time_block is not offered: blocks are too few for a verdict and caches carry one arm over into the next;"
            " write process where the calls of one process influence each other, else conversation or user"
        )
    return unit


def _part_of_all(share: float) -> float:
    if not 0.0 < share < 1.0:
        raise ValueError("must leave somebody in each arm: without a hold-back nothing shows harm; write 5%")
    return share


_STEPS = (
    Step.model_validate({"shadow": "24h"}),
    Step.model_validate({"treatment": "5%", "baseline": "5%"}),
    Step.model_validate({"treatment": "50%", "baseline": "50%"}),
)


class Rollout(DeclaredModel):
    """The way from nobody to everybody; `holdback` is the share that stays baseline for good."""

    unit: Annotated[Literal["conversation", "user", "process", "time_block"], AfterValidator(_told_apart)] = (
        "conversation"
    )
    warmup_s: DurationOrZero = Field(default=600.0, alias="warmup")
    steps: Annotated[tuple[Step, ...], BeforeValidator(as_tuple), Field(min_length=1, max_length=20)] = _STEPS
    limits: Limits = Limits()
    holdback: Annotated[Share, AfterValidator(_part_of_all)] = _HOLDBACK
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
    """What must become better, and by how much at least: a share of the baseline, or percentage points."""

    metric: Metric
    improve: MarginText = Margin(0.0)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.improve.value >= 1:
            raise ValueError(f"nothing improves by {self.improve}; write less than 100%")
        return _points_only_for_shares(self, "improve", self.improve)


class Guardrail(DeclaredModel):
    """What must not become worse by more than a margin; less is better, except for scores (`maxDecrease`)."""

    metric: Metric
    max_increase: MarginText | None = None
    max_decrease: MarginText | None = None

    @model_validator(mode="after")
    def _one_margin(self) -> Self:
        wanted, other = ("maxDecrease", "maxIncrease") if self.higher_is_better else ("maxIncrease", "maxDecrease")
        given = {"maxIncrease": self.max_increase, "maxDecrease": self.max_decrease}
        if given[wanted] is None or given[other] is not None:
            better = "more" if self.higher_is_better else "less"
            raise ValueError(f"of {self.metric} {better} is better; give {wanted} and only that, such as {wanted}: 5%")
        return _points_only_for_shares(self, wanted, self.margin)

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the metric is better, so that the margin is a decrease."""
        return METRICS[self.metric].higher_is_better

    @property
    def margin(self) -> Margin:
        """The tolerated change to the bad."""
        margin = self.max_decrease if self.higher_is_better else self.max_increase
        assert margin is not None
        return margin


def _points_only_for_shares(model: _M, key: str, margin: Margin) -> _M:
    metric = getattr(model, "metric", "")
    if margin.absolute and not METRICS[metric].is_share:
        raise ValueError(f"{metric} is no share of units; write {key} in percent, such as 5%")
    return model


class Rollback(DeclaredModel):
    """How long a digest that was taken back stays away."""

    cooldown_s: DurationOrZero = Field(default=7 * 86400.0, alias="cooldown")


# Points, not shares, for what happens rarely: no number of units shows that 0.5 % is not 0.8 %. Tokens, not
# dollars, because a model without a known price would never be shown to cost no more.
DEFAULT_GUARDRAILS = (
    Guardrail.model_validate({"metric": "task_failure", "maxIncrease": "5pp"}),
    Guardrail.model_validate({"metric": "latency_p95_exceed", "maxIncrease": "5pp"}),
    Guardrail.model_validate({"metric": "tokens", "maxIncrease": "5%"}),
)
