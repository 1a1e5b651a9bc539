"""How long a verdict will take: a plan and what one expects of the traffic in, units and days out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

from otel_perfopt.verify import failure_eprocess, metric_kind
from otel_perfopt.verify.comparison_plan import ComparisonPlan
from otel_perfopt.verify.confidence_sequence import radius
from otel_perfopt.verify.criterion import Criterion, goal_criterion, guardrail_criterion
from otel_perfopt.verify.evidence import log_mean_exp, threshold
from otel_perfopt.verify.metric_kind import Test
from otel_perfopt.verify.rate_difference import CAPITAL, log_factors
from otel_perfopt.verify.rate_likelihood import alternatives, log_ratios

_FARTHEST = 10_000_000


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected of one metric: its baseline rate (events), its spread, and the true relative change.

    `spread` is the standard deviation of the logarithm, or for arithmetic means that of value over mean.
    """

    change: float = 0.0
    spread: float = 0.35
    rate: float = 0.05


@dataclass(frozen=True, slots=True)
class PlanSize:
    """Units of both arms (about the median) and days until *better*; None where that is out of reach.

    `by_metric` has each metric's own; `slowest` names the one everything waits for.
    """

    units: int | None
    days: float | None
    slowest: str
    by_metric: Mapping[str, int | None] = field(default_factory=dict)


def plan_size(
    plan: ComparisonPlan,
    expected: Mapping[str, Expectation],
    units_per_day: float,
    treatment_share: float = 0.5,
    enrolled_share: float = 1.0,
) -> PlanSize:
    """Return the expected size of a trial in which `expected` is true of each metric (default: no change).

    `treatment_share` is π; `enrolled_share` the part of `units_per_day` that is in either arm.
    """
    criteria = [goal_criterion(plan.goal, plan), *(guardrail_criterion(one, plan) for one in plan.guardrails)]
    by_metric: dict[str, int | None] = {}
    for criterion in criteria:
        found = _units(criterion, plan, expected, treatment_share)
        earlier = by_metric.get(criterion.metric, 0)
        by_metric[criterion.metric] = None if found is None or earlier is None else max(found, earlier)
    slowest = max(by_metric, key=lambda metric: _order(by_metric[metric]))
    units = by_metric[slowest]
    if units is not None:
        units = max(units, plan.min_units)
    days = None if units is None else units / (units_per_day * enrolled_share)
    return PlanSize(units, days, slowest, by_metric)


def _order(units: int | None) -> float:
    return math.inf if units is None else units


def _units(criterion: Criterion, plan: ComparisonPlan, expected: Mapping[str, Expectation], share: float) -> int | None:
    kind = metric_kind.metric_kind(criterion.metric)
    belief = expected.get(criterion.metric, Expectation())
    if kind.test is Test.FAULT:
        return 0
    if kind.test is Test.EXCEEDANCE:
        belief = _exceedance(expected.get(kind.reads, Expectation()))
        found = _event_units(criterion, plan, belief, share)
        return None if found is None else found + math.ceil(plan.freeze_units / (1.0 - share))
    if kind.test is Test.EVENT:
        return _event_units(criterion, plan, belief, share)
    if kind.test is Test.SPREAD:
        # ln s of logarithms that are about normal varies as a mean with a standard deviation of 1/√2 does.
        belief = Expectation(change=belief.change, spread=math.sqrt(0.5))
    return _mean_units(criterion, plan, belief, share)


def _exceedance(latency: Expectation) -> Expectation:
    p95 = NormalDist().inv_cdf(0.95) * latency.spread
    rate = 1.0 - NormalDist().cdf((p95 - math.log1p(latency.change)) / latency.spread)
    return Expectation(change=rate / 0.05 - 1.0, rate=0.05)


def _mean_units(criterion: Criterion, plan: ComparisonPlan, belief: Expectation, share: float) -> int | None:
    # An absolute limit needs the baseline's level, which a plan does not have.
    if criterion.test.absolute:
        return None
    gap = math.log1p(criterion.benefit_limit) - math.log1p(belief.change)
    gap = -gap if criterion.higher_is_better else gap
    if gap <= 0.0:
        return None
    split = share * (1.0 - share)

    def shown(units: int) -> bool:
        return radius(belief.spread**2 / (units * split), 4 * split * units, plan.alpha, plan.target_units) < gap

    found = _first(shown)
    return None if found is None else max(found, math.ceil(plan.min_units_each / min(share, 1.0 - share)))


def _event_units(criterion: Criterion, plan: ComparisonPlan, belief: Expectation, share: float) -> int | None:
    if criterion.higher_is_better:
        return None
    ours, theirs = min(1.0, belief.rate * (1.0 + belief.change)), belief.rate
    growth = _difference_growth if criterion.test.absolute else _ratio_growth
    rates, weights = zip(*growth(criterion.benefit_limit, share, ours, theirs), strict=True)
    limit = threshold(plan.alpha)
    return _first(lambda units: log_mean_exp([units * rate for rate in rates], weights) >= limit)


def _ratio_growth(tolerated: float, share: float, ours: float, theirs: float) -> Iterator[tuple[float, float]]:
    """Yield what a unit adds to the logarithm of each part of the e-process, and that part's weight."""
    grid = failure_eprocess.HARM_GRID
    for in_baseline, in_treatment in failure_eprocess.log_factors(1.0 - share, 1.0 / (1.0 + tolerated), grid):
        yield (1.0 - share) * theirs * in_baseline + share * ours * in_treatment, 1.0 / len(grid)


def _difference_growth(margin: float, share: float, ours: float, theirs: float) -> Iterator[tuple[float, float]]:
    """Yield the same for both halves of the test of a difference."""
    failed_t, failed_c = share * ours, (1.0 - share) * theirs
    for capital, step in zip(CAPITAL, log_factors(share, margin, -1), strict=True):
        yield failed_t * step[0] + failed_c * step[1] + (1.0 - failed_t - failed_c) * step[2], capital / 2
    pairs = alternatives(-margin)
    for pair in pairs:
        first = log_ratios(1.0 - share, -margin, pair)
        baseline = failed_c * first[0] + (1.0 - share - failed_c) * first[1]
        yield baseline + failed_t * first[2] + (share - failed_t) * first[3], 0.5 / len(pairs)


def _first(shown: Callable[[int], bool]) -> int | None:
    low, high = 1, 2
    while not shown(high):
        low, high = high, high * 2
        if high > _FARTHEST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high
