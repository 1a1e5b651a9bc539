"""Which of several approved strategies is used: each unit's strategy and value in, switch, keep or explore out.

The design, chosen for being simple and honest. Units are randomised between the alternatives at any time.
While it *explores* they have equal shares, and a challenger takes the lead only when a test that is valid at
every look shows it better than the leader by more than the cost of switching. Then it *exploits*: the leader has
all but a hold-out of each other. A shorter look at the hold-outs, or a change in the leader's own
performance, only leads back to exploring: it may be wrong at the price of some units, never of a switch. Each
exploration is a new test, so what is spent on errors is bounded an exploration, not for ever: at most alpha of
the explorations between equals end in a switch, and there is at most one exploration a dwell time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from otel_perfopt.verify.change_alarm import ChangeAlarm
from otel_perfopt.verify.choice_units import ChoiceUnits, ChosenUnit
from otel_perfopt.verify.comparison_plan import ComparisonPlan, Goal
from otel_perfopt.verify.criterion import Criterion, goal_criterion
from otel_perfopt.verify.evidence import Stratum
from otel_perfopt.verify.metric_kind import Test, metric_kind

EXPLORE = "explore"
SWITCH = "switch"
KEEP = "keep"
# A look at hold-outs only decides whether to compare properly, so it may be wrong more often than a switch.
TRIGGER_ALPHA = 0.1
MOST_WINDOWS = 6
MOST_HELD_UNITS = 4000
LOOKS_A_DWELL = 20


@dataclass(frozen=True, slots=True)
class RaceSettings:
    """What is compared, how surely, and what a switch must bring (a share); `dwell_s` is between explorations."""

    metric: str
    alpha: float = 0.05
    switch_cost: float = 0.0
    dwell_s: float = 600.0
    max_units: int = 2000
    min_units_each: int = 100


@dataclass(frozen=True, slots=True)
class RaceAnswer:
    """What is to happen: `switch` to `to`, `keep` the leader, `explore`; why in a sentence, and the numbers."""

    kind: str
    to: str
    reason: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


class StrategyRace:
    """One stretch of time with fixed shares; after each answer a new one begins.

    `shares` are of all units; `front` is the leader. Exploring, the challenger stands as treatment and the leader
    as baseline. Otherwise the leader is the treatment: what is looked for is its harm, which needs no equal arms.
    """

    def __init__(
        self, settings: RaceSettings, front: str, shares: Mapping[str, float], began_ns: int, *, exploring: bool
    ) -> None:
        self.settings = settings
        self.front = front
        self.exploring = exploring
        self.began_ns = began_ns
        self._members = tuple(shares)
        self._challengers = tuple(name for name in shares if name != front)
        self._strata = {name: self._stratum(shares, name) for name in self._challengers}
        self._units = ChoiceUnits(2 * settings.max_units if exploring else MOST_HELD_UNITS)
        self._windows = [began_ns]
        self._looked = (-1, -1)
        self._alarm = ChangeAlarm()
        self._alarms = metric_kind(settings.metric).test in {Test.LOG_MEAN, Test.MEAN}

    @property
    def units(self) -> dict[str, int]:
        """How many units each strategy had in this stretch."""
        return {name: self._units.counts[name] for name in self._members}

    def observe(self, unit_id: str, member: str, value: float, at_ns: int) -> None:
        """Take one run of a unit into account: the unit's strategy and the run's value of the metric."""
        if member not in self._members:
            return
        self._units.observe(unit_id, member, value, at_ns)
        if not self.exploring:
            self._slide(at_ns)
            if member == self.front and self._alarms:
                self._alarm.observe(value)

    def answer(self, now_ns: int) -> RaceAnswer | None:
        """Return what is to happen now; None: go on."""
        if self._looked[0] == self._units.revision:
            return None
        if self.exploring:
            self._looked = (self._units.revision, now_ns)
            return self._explored()
        dwell_ns = int(self.settings.dwell_s * 1e9)
        # Hold-outs grow slowly, and looking at every window takes its time.
        if now_ns - self.began_ns < dwell_ns or 0 <= now_ns - self._looked[1] < dwell_ns // LOOKS_A_DWELL:
            return None
        self._looked = (self._units.revision, now_ns)
        return self._triggered()

    def _explored(self) -> RaceAnswer | None:
        criteria = self._criteria()
        alpha = self.settings.alpha / max(1, len(criteria))
        better = [name for name, one in criteria.items() if one.satisfied(alpha)]
        if better:
            chosen = min(better, key=lambda name: self._loss(criteria[name]))
            return self._told(SWITCH, chosen, criteria[chosen], "is shown better than", alpha)
        worse = [name for name, one in criteria.items() if one.harmed(alpha)]
        if len(worse) == len(criteria):
            name = worse[0]
            return self._told(KEEP, self.front, criteria[name], "is shown better than the others, as", alpha, of=name)
        if sum(self.units.values()) < self.settings.max_units:
            return None
        counts = ", ".join(f"{name} {count}" for name, count in self.units.items())
        reason = f"no difference beyond the cost of switching is shown ({counts} units): {self.front} stays"
        return RaceAnswer(KEEP, self.front, reason, {"units": self.units})

    def _triggered(self) -> RaceAnswer | None:
        alpha = TRIGGER_ALPHA / (len(self._challengers) * (MOST_WINDOWS + 1))
        criteria, begins = self._fresh(), list(self._windows)
        # From the latest unit backwards: at each window's beginning its sums are complete.
        for unit in self._units.backwards():
            while begins and unit.first_ns < begins[-1]:
                begins.pop()
                behind = self._behind(criteria, alpha)
                if behind is not None:
                    return behind
            self._add(criteria, unit)
        behind = self._behind(criteria, alpha)
        if behind is None and self._alarm.raised:
            reason = f"{self.settings.metric} of {self.front} has changed: time to compare again"
            return RaceAnswer(EXPLORE, self.front, reason, {"units": self.units})
        return behind

    def _behind(self, criteria: Mapping[str, Criterion], alpha: float) -> RaceAnswer | None:
        for name, criterion in criteria.items():
            if criterion.harmed(alpha):
                return self._told(EXPLORE, self.front, criterion, "falls behind", alpha, of=name)
        return None

    def _told(
        self, kind: str, to: str, criterion: Criterion, how: str, alpha: float, *, of: str | None = None
    ) -> RaceAnswer:
        effect = criterion.test.interval(alpha, benefit=False)
        other = of if of is not None else self.front
        numbers: dict[str, Any] = {"units": self.units, "against": other}
        change = ""
        if effect is not None:
            numbers |= {"effect": round(effect.estimate, 6), "low": round(effect.low, 6), "high": round(effect.high, 6)}
            change = f" {effect.estimate * 100:+.1f} % (from {effect.low * 100:+.1f} to {effect.high * 100:+.1f})"
        treatment, baseline = criterion.test.counts
        return RaceAnswer(
            kind,
            to,
            f"{to} {how} {other}: {self.settings.metric}{change} in {treatment} against {baseline} units",
            numbers,
        )

    def _loss(self, criterion: Criterion) -> float:
        effect = criterion.test.interval(self.settings.alpha, benefit=False)
        estimate = effect.estimate if effect is not None else 0.0
        return -estimate if criterion.higher_is_better else estimate

    def _criteria(self) -> dict[str, Criterion]:
        """Return each challenger's comparison over all units of the stretch."""
        criteria = self._fresh()
        for unit in self._units.since(self.began_ns):
            self._add(criteria, unit)
        return criteria

    def _fresh(self) -> dict[str, Criterion]:
        settings = self.settings
        improve = settings.switch_cost if self.exploring else 0.0
        plan = ComparisonPlan(
            goal=Goal(settings.metric, improve=improve), alpha=settings.alpha, min_units_each=settings.min_units_each
        )
        return {name: goal_criterion(plan.goal, plan) for name in self._challengers}

    def _add(self, criteria: Mapping[str, Criterion], unit: ChosenUnit) -> None:
        for name in self._challengers if unit.choice == self.front else (unit.choice,):
            criterion = criteria[name]
            if unit.value > 0.0 or not criterion.positive_only:
                treatment = (unit.choice == name) is self.exploring
                criterion.test.add(self._strata[name], unit.value, treatment=treatment)

    def _slide(self, at_ns: int) -> None:
        """Begin another window each dwell time; the first, of the whole stretch, and the latest are kept."""
        if at_ns - self._windows[-1] >= self.settings.dwell_s * 1e9:
            self._windows.append(at_ns)
            if len(self._windows) > MOST_WINDOWS + 1:
                del self._windows[1]

    def _stratum(self, shares: Mapping[str, float], challenger: str) -> Stratum:
        mine = shares[challenger if self.exploring else self.front]
        both = shares[challenger] + shares[self.front]
        return Stratum(EXPLORE if self.exploring else "exploit", mine / both if both else 0.5)
