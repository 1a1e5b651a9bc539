"""Which of several values of a parameter is best: each unit's value and outcome in, values that are dropped out.

Successive elimination: every value left has the same share of the treated units, each pair is compared by a
test that is valid at every look, and a value goes when another one is shown better. All pairs share alpha, so the
best value is ever dropped with probability at most alpha.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from otel_perfopt.verify.choice_units import ChoiceUnits
from otel_perfopt.verify.comparison_plan import ComparisonPlan, Goal
from otel_perfopt.verify.criterion import Criterion, goal_criterion
from otel_perfopt.verify.evidence import Stratum
from otel_perfopt.verify.metric_test import MeanTest, RatioTest

LOOK_AFTER = 1.02
_STRATUM = Stratum("tune", 0.5)


@dataclass(frozen=True, slots=True)
class Dropped:
    """A value that goes (or, at the limit, all but one), what it lost against, and the numbers."""

    values: tuple[int, ...]
    against: int
    at_limit: bool
    numbers: Mapping[str, Any] = field(default_factory=dict)


class ValueRace:
    """One tuning: of `among` declared values those in `left` (indices) are still tried; `declared` is the policy's own."""

    def __init__(
        self,
        metric: str,
        left: Sequence[int],
        *,
        alpha: float,
        min_units: int,
        max_units: int,
        declared: int | None,
        among: int,
    ) -> None:
        self._metric = metric
        self._left = tuple(left)
        self._alpha = alpha
        self._min_units = min_units
        self._max_units = max_units
        self._declared = declared
        self._pair_alpha = alpha / (among * (among - 1))
        self._units = ChoiceUnits(2 * max_units)
        self._looked = 0

    @property
    def units(self) -> dict[int, int]:
        """How many units each value has had."""
        return {index: self._units.counts[str(index)] for index in self._left}

    def observe(self, unit_id: str, index: int, value: float, at_ns: int) -> None:
        """Take one run of a unit into account."""
        self._units.observe(unit_id, str(index), value, at_ns)

    def drop(self, index: int) -> None:
        """Go on without a value; what is known of the others stays."""
        self._left = tuple(one for one in self._left if one != index)
        self._looked = 0

    def answer(self) -> Dropped | None:
        """Return what goes now; None: nothing is shown yet."""
        # A look takes time, and between two of them there must be something new to see.
        if len(self._left) < 2 or self._units.revision < self._looked * LOOK_AFTER or self._units.revision == 0:
            return None
        self._looked = self._units.revision
        pairs = self._pairs()
        worst = max(
            (pair for pair, one in pairs.items() if self._is_worse(one)),
            key=lambda pair: _loss(pairs[pair]),
            default=None,
        )
        if worst is not None:
            return Dropped((worst[0],), worst[1], at_limit=False, numbers=self._numbers(pairs[worst]))
        if sum(self.units.values()) < self._max_units:
            return None
        kept = self._declared if self._declared in self._left else self._best(pairs)
        others = tuple(index for index in self._left if index != kept)
        return Dropped(others, kept, at_limit=True, numbers=self._numbers(pairs[others[0], kept]))

    def _pairs(self) -> dict[tuple[int, int], Criterion]:
        """Return the comparison of each value (as treatment) with each other one (as baseline)."""
        pairs = {pair: self._fresh() for pair in permutations(self._left, 2)}
        units: dict[int, list[float]] = {index: [] for index in self._left}
        for unit in self._units.since(0):
            if int(unit.choice) in units:
                units[int(unit.choice)].append(unit.value)
        if isinstance(self._fresh().test, (MeanTest, RatioTest)):
            # Sums of one value are the same in every pair, so they are made once.
            arms = {(index, side): self._arm(units[index], treatment=side) for index in units for side in (True, False)}
            for (index, other), criterion in pairs.items():
                criterion.test.merge(arms[index, True].test)
                criterion.test.merge(arms[other, False].test)
            return pairs
        for (index, other), criterion in pairs.items():
            for side, values in ((True, units[index]), (False, units[other])):
                _fill(criterion, values, treatment=side)
        return pairs

    def _arm(self, values: Sequence[float], *, treatment: bool) -> Criterion:
        made = self._fresh()
        _fill(made, values, treatment=treatment)
        return made

    def _fresh(self) -> Criterion:
        plan = ComparisonPlan(goal=Goal(self._metric), alpha=self._alpha)
        return goal_criterion(plan.goal, plan)

    def _is_worse(self, criterion: Criterion) -> bool:
        return min(criterion.test.counts) >= self._min_units and criterion.harmed(self._pair_alpha)

    def _best(self, pairs: Mapping[tuple[int, int], Criterion]) -> int:
        return min(
            self._left, key=lambda index: sum(_loss(pairs[index, other]) for other in self._left if other != index)
        )

    def _numbers(self, criterion: Criterion) -> dict[str, Any]:
        effect = criterion.test.interval(self._alpha, benefit=False)
        told: dict[str, Any] = {"units": {str(index): count for index, count in self.units.items()}}
        if effect is None:
            return told
        return told | {"effect": round(effect.estimate, 6), "low": round(effect.low, 6), "high": round(effect.high, 6)}


def _fill(criterion: Criterion, values: Sequence[float], *, treatment: bool) -> None:
    for value in values:
        if value > 0.0 or not criterion.positive_only:
            criterion.test.add(_STRATUM, value, treatment=treatment)


def _loss(criterion: Criterion) -> float:
    effect = criterion.test.interval(0.1, benefit=False)
    estimate = effect.estimate if effect is not None else 0.0
    return -estimate if criterion.higher_is_better else estimate
