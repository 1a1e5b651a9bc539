"""The same tests as `otel_perfopt.verify`, on thousands of roll-outs at once: drawn values in, when each was decided out.

Counts and sums are running sums along the units, the factors are the package's own. A test holds it
to the streaming code unit by unit (tests/verify/test_vectorised.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from otel_perfopt.verify import failure_eprocess, rate_difference, rate_likelihood
from otel_perfopt.verify.comparison_plan import ComparisonPlan
from otel_perfopt.verify.confidence_sequence import MIN_STRATUM_UNITS, Scale
from otel_perfopt.verify.criterion import Criterion, goal_criterion, guardrail_criterion
from otel_perfopt.verify.evidence import threshold
from otel_perfopt.verify.frozen_value import MIN_STALE_UNITS, STALE_SHARE, ExceedanceTest, WinsorisedTest
from otel_perfopt.verify.metric_kind import FAULT
from otel_perfopt.verify.metric_test import BALANCED, MIN_HARM_UNITS, DifferenceTest, MeanTest, RatioTest

Array = np.ndarray
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Draws:
    """Roll-outs × units: who was treated, and each metric's values; `stages` are (allocation, units) in order."""

    stages: tuple[tuple[float, int], ...]
    treated: Array
    values: Mapping[str, Array]

    @property
    def spans(self) -> list[tuple[float, int, int]]:
        """Each stage's allocation, first unit and end."""
        found, begin = [], 0
        for share, count in self.stages:
            found.append((share, begin, begin + count))
            begin += count
        return found


@dataclass(frozen=True)
class Decided:
    """For each roll-out: after how many units it was worse, and better (NEVER: not at all)."""

    worse: Array
    better: Array
    treated: Array

    @property
    def is_worse(self) -> Array:
        """Which roll-outs were taken back: shown worse before, or when, they were shown better."""
        return (self.worse != NEVER) & (self.worse <= self.better)

    @property
    def is_better(self) -> Array:
        """Which roll-outs were promoted."""
        return (self.better != NEVER) & (self.better < self.worse)


def judge(draws: Draws, plan: ComparisonPlan) -> Decided:
    """Look at every roll-out after every unit, as `Comparison.conclusion` does."""
    goal = goal_criterion(plan.goal, plan)
    criteria = [goal, *(guardrail_criterion(guardrail, plan) for guardrail in plan.guardrails)]
    guarded = {guardrail.metric for guardrail in plan.guardrails}
    tested = [c for c in criteria if not (c is goal and goal.metric in guarded)]
    harm_alpha = plan.alpha / max(1, sum(c.metric != FAULT for c in tested))
    worse = np.zeros(draws.treated.shape, bool)
    better = np.ones(draws.treated.shape, bool)
    for criterion in criteria:
        judged = _judged(criterion, draws, plan)
        up = not criterion.higher_is_better
        if any(criterion is one for one in tested):
            worse |= judged.beyond(criterion.harm_limit, harm_alpha, above=up, benefit=False)
        better &= judged.beyond(criterion.benefit_limit, plan.alpha, above=not up, benefit=True)
    better &= ~_mismatch(draws, plan)
    better[:, : plan.min_units - 1] = False
    firsts = _first(worse), _first(better)
    ends = np.minimum(np.minimum(*firsts), draws.treated.shape[1])
    treated = np.take_along_axis(np.cumsum(draws.treated, axis=1), ends[:, None] - 1, axis=1)[:, 0]
    return Decided(*firsts, treated)


def _first(shown: Array) -> Array:
    return np.where(shown.any(axis=1), shown.argmax(axis=1) + 1, NEVER)


def _judged(criterion: Criterion, draws: Draws, plan: ComparisonPlan) -> _Events | _Means:
    test, values = criterion.test, draws.values[criterion.reads]
    if isinstance(test, ExceedanceTest):
        return _exceedance(test, values, draws, plan)
    if isinstance(test, (RatioTest, DifferenceTest)):
        return _Events(draws, values > 0, np.ones(values.shape, bool), absolute=test.absolute)
    if isinstance(test, WinsorisedTest):
        return _winsorised(test, values, draws, plan)
    if isinstance(test, MeanTest):
        kept = np.log(np.maximum(values, test.floor)) if test.scale is Scale.LOG else values
        return _Means(draws, kept, test.scale, plan)
    raise TypeError(f"{criterion.metric} is not simulated")


# --- events -------------------------------------------------------------------------------------


class _Events:
    """The tests on events; `counted` says which units take part, `stale` where no benefit is claimed."""

    def __init__(
        self, draws: Draws, happened: Array, counted: Array, *, absolute: bool, stale: Array | None = None
    ) -> None:
        self._draws, self._absolute, self._stale = draws, absolute, stale
        self._happened, self._counted = happened & counted, counted

    def beyond(self, limit: float, alpha: float, *, above: bool, benefit: bool) -> Array:
        """Tell at each look whether the change has been shown to lie beyond `limit`."""
        log_e = self._difference(limit, above=above) if self._absolute else self._ratio(limit, above=above)
        shown = log_e >= threshold(alpha)
        return shown & ~self._stale if benefit and self._stale is not None else shown

    def _ratio(self, limit: float, *, above: bool) -> Array:
        treated = self._draws.treated if above else ~self._draws.treated
        parts = []
        for g in range(len(failure_eprocess.HARM_GRID)):
            step = np.zeros(treated.shape)
            for share, begin, end in self._draws.spans:
                ratio, pi = (1.0 + limit, share) if above else (1.0 / (1.0 + limit), 1.0 - share)
                up, down = failure_eprocess.log_factors(pi, ratio, failure_eprocess.HARM_GRID)[g]
                part = slice(begin, end)
                step[:, part] = np.where(treated[:, part], up, down) * self._happened[:, part]
            parts.append(np.cumsum(step, axis=1))
        return _log_mean_exp(parts)

    def _difference(self, limit: float, *, above: bool) -> Array:
        sign = 1 if above else -1
        wealth = []
        for bet in range(len(rate_difference.BETS)):
            step = np.zeros(self._happened.shape)
            for share, begin, end in self._draws.spans:
                ours, theirs, quiet = rate_difference.log_factors(share, limit, sign)[bet]
                part = slice(begin, end)
                of_event = np.where(self._draws.treated[:, part], ours, theirs)
                step[:, part] = np.where(self._happened[:, part], of_event, quiet) * self._counted[:, part]
            wealth.append(np.cumsum(step, axis=1))
        margin = limit if above else -limit
        first = self._draws.treated if above else ~self._draws.treated
        likelihood = []
        for rates in rate_likelihood.alternatives(margin):
            step = np.zeros(self._happened.shape)
            for share, begin, end in self._draws.spans:
                pi = share if above else 1.0 - share
                failed_1, worked_1, failed_2, worked_2 = rate_likelihood.log_ratios(pi, margin, rates)
                part = slice(begin, end)
                if_failed = np.where(first[:, part], failed_1, failed_2)
                if_worked = np.where(first[:, part], worked_1, worked_2)
                step[:, part] = np.where(self._happened[:, part], if_failed, if_worked) * self._counted[:, part]
            likelihood.append(np.cumsum(step, axis=1))
        halves = [_log_mean_exp(wealth, rate_difference.CAPITAL)]
        halves.append(_log_mean_exp(likelihood) if likelihood else np.zeros(self._happened.shape))
        return _log_mean_exp(halves)


def _exceedance(test: ExceedanceTest, values: Array, draws: Draws, plan: ComparisonPlan) -> _Events:
    counted = np.zeros(values.shape, bool)
    happened = np.zeros(values.shape, bool)
    for _, begin, end in draws.spans:
        baseline = ~draws.treated[:, begin:end]
        part = values[:, begin:end]
        seen = np.cumsum(baseline, axis=1)
        for row in np.flatnonzero(seen[:, -1] >= plan.freeze_units):
            last = int(np.searchsorted(seen[row], plan.freeze_units))
            frozen = np.quantile(part[row, : last + 1][baseline[row, : last + 1]], 0.95)
            counted[row, begin + last + 1 : end] = True
            happened[row, begin + last + 1 : end] = part[row, last + 1 :] > frozen
    of_baseline = counted & ~draws.treated
    units, beyond = np.cumsum(of_baseline, axis=1), np.cumsum(of_baseline & happened, axis=1)
    stale = (units >= MIN_STALE_UNITS) & (beyond > STALE_SHARE * units)
    return _Events(draws, happened, counted, absolute=test.absolute, stale=stale)


def _mismatch(draws: Draws, plan: ComparisonPlan) -> Array:
    parts = []
    for g in range(len(failure_eprocess.MISMATCH_GRID)):
        step = np.zeros(draws.treated.shape)
        for share, begin, end in draws.spans:
            up, down = failure_eprocess.log_factors(share, 1.0, failure_eprocess.MISMATCH_GRID)[g]
            step[:, begin:end] = np.where(draws.treated[:, begin:end], up, down)
        parts.append(np.cumsum(step, axis=1))
    return _log_mean_exp(parts) >= threshold(plan.sample_ratio_alpha)


def _log_mean_exp(logs: Sequence[Array], weights: Sequence[float] | None = None) -> Array:
    shares = weights if weights is not None else (1.0 / len(logs),) * len(logs)
    peak = np.maximum.reduce(logs)
    return peak + np.log(sum(share * np.exp(log - peak) for share, log in zip(shares, logs, strict=True)))


# --- means --------------------------------------------------------------------------------------


class _Means:
    """The confidence sequence on means; `from_unit` is where each stage is first spoken of, `muted` where never."""

    def __init__(
        self,
        draws: Draws,
        values: Array,
        scale: Scale,
        plan: ComparisonPlan,
        from_unit: int = 0,
        muted: Sequence[Array] | None = None,
    ) -> None:
        self._plan, self._scale = plan, scale
        self._draws, self._values = draws, values
        self._from_unit, self._muted = from_unit, muted
        self._contrasts: dict[bool, tuple[Array, ...]] = {}

    def beyond(self, limit: float, alpha: float, *, above: bool, benefit: bool) -> Array:
        """Tell at each look whether the change has been shown to lie beyond `limit`."""
        if benefit not in self._contrasts:
            self._contrasts[benefit] = self._contrast(benefit=benefit)
        estimate, reach_1, units, enough = self._contrasts[benefit]
        log_term = -2.0 * math.log(2.0 * alpha)
        scaled = units * (log_term + math.log(1.0 + log_term)) / self._plan.target_units
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.sqrt(2 * reach_1 * (1 + 1 / scaled) * np.log1p(np.sqrt(scaled + 1) / (2 * alpha)))
            at = limit if self._scale is Scale.DIFFERENCE else math.log1p(limit)
            shown = estimate - reach > at if above else estimate + reach < at
        return shown & enough

    def _contrast(self, *, benefit: bool) -> tuple[Array, ...]:
        shape = self._values.shape
        weights, weighted, spread = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        total_t, total_c = np.zeros(shape), np.zeros(shape)
        for index, (share, begin, end) in enumerate(self._draws.spans):
            if benefit and not BALANCED[0] <= share <= BALANCED[1]:
                continue
            n_t, mean_t, var_t, n_c, mean_c, var_c = self._stage(begin, end)
            usable = (n_t >= MIN_STRATUM_UNITS) & (n_c >= MIN_STRATUM_UNITS)
            usable[:, : begin + max(0, self._from_unit - 1)] = False
            if self._muted is not None:
                usable &= ~self._muted[index]
            with np.errstate(divide="ignore", invalid="ignore"):
                if self._scale is Scale.RATIO:
                    step, noise = np.log(mean_t / mean_c), var_t / n_t / mean_t**2 + var_c / n_c / mean_c**2
                else:
                    step, noise = mean_t - mean_c, var_t / n_t + var_c / n_c
                weight = np.where(usable, n_t * n_c / np.maximum(1, n_t + n_c), 0.0)
            weights += weight
            weighted += np.where(usable, weight * step, 0.0)
            spread += np.where(usable, weight**2 * noise, 0.0)
            total_t += np.where(usable, n_t, 0)
            total_c += np.where(usable, n_c, 0)
        least = self._plan.min_units_each if benefit else MIN_HARM_UNITS
        enough = (np.minimum(total_t, total_c) >= least) & (weights > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return weighted / weights, spread / weights**2, 4 * weights, enough

    def _stage(self, begin: int, end: int) -> list[Array]:
        """Return count, mean and variance of treatment, then of baseline, in one stage at each look."""
        treated, values = self._draws.treated[:, begin:end], self._values[:, begin:end]
        found: list[Array] = []
        with np.errstate(divide="ignore", invalid="ignore"):
            for arm in (treated, ~treated):
                parts = (arm * 1.0, values * arm, values**2 * arm)
                count, total, squares = (_stretched(np.cumsum(part, axis=1), begin, self._values) for part in parts)
                mean = total / count
                found += [count, mean, np.maximum(1e-12 * mean**2, (squares - total * mean) / (count - 1))]
        return found


def _stretched(sums: Array, begin: int, like: Array) -> Array:
    """Return a stage's running sums as wide as `like`: nothing before the stage, unchanged after it."""
    whole = np.zeros(like.shape, sums.dtype)
    end = begin + sums.shape[1]
    whole[:, begin:end] = sums
    whole[:, end:] = sums[:, -1:]
    return whole


def _winsorised(test: WinsorisedTest, values: Array, draws: Draws, plan: ComparisonPlan) -> _Means:
    kept = values.copy()
    muted = []
    for _, begin, end in draws.spans:
        first = values[:, begin : begin + plan.freeze_units]
        frozen = np.quantile(first, 0.99, axis=1)[:, None]
        cut = (values[:, begin:end] > frozen) & ~draws.treated[:, begin:end]
        units, beyond = np.cumsum(~draws.treated[:, begin:end], axis=1), np.cumsum(cut, axis=1)
        muted.append(_stretched((units >= MIN_STALE_UNITS) & (beyond > STALE_SHARE * units), begin, values))
        kept[:, begin:end] = np.minimum(values[:, begin:end], frozen)
    return _Means(draws, kept, test.inner.scale, plan, from_unit=plan.freeze_units, muted=muted)
