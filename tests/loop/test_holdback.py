"""A promoted policy is retired when the hold-back shows that its benefit is gone, and not before."""

from __future__ import annotations

import random

import pytest

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision
from otel_perfopt.loop.holdback import benefit_lost, period_of
from otel_perfopt.loop.outcome import outcome_of
from otel_perfopt.loop.user_impact import segment_of, user_impact
from otel_perfopt.verify.comparison import compare, comparison_of
from otel_perfopt.verify.comparison_plan import ComparisonPlan, Goal, Guardrail
from otel_perfopt.verify.verdict import Unit

DAY = 86_400 * 10**9
DECISION = Decision("p", "d", "tool_cache", "active", Allocation(0.9, 0.1))
PLAN = ComparisonPlan(
    Goal("latency", 0.1), (Guardrail("task_failure", max_absolute=0.05),), max_duration_s=10 * 86_400.0
)


def units(count: int, factor: float, *, start_ns: int = 0, seed: int = 1, **values) -> list[Unit]:
    """Return units over ten days of which a tenth is held back; treatment takes `factor` of the time."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        treated = draw.random() < 0.9
        seconds = draw.lognormvariate(0, 0.3) * (factor if treated else 1.0)
        arm, first_ns = "treatment" if treated else "baseline", start_ns + number * 10 * DAY // count
        own = {"latency": seconds, "task_failure": 0.0, **{key: value(arm) for key, value in values.items()}}
        made.append(Unit(f"u{start_ns}-{number}", "p", "d", "active", arm, 0.9, first_ns, own, f"user-{number % 700}"))
    return made


def lost_of(rows: list[Unit], now_ns: int) -> str | None:
    """What the units of the present period of a policy that is active since time zero say."""
    period = period_of(PLAN, 0, now_ns)
    recent = [unit for unit in rows if unit.first_ns >= period.start_ns]
    return benefit_lost(comparison_of(DECISION, period.plan, recent), PLAN, now_ns)


def test_a_benefit_that_goes_on_is_kept():
    """Well beyond the goal, at the goal, and before anything can be said, nothing is lost."""
    assert lost_of(units(3000, 0.8), 9 * DAY) is None
    assert lost_of(units(3000, 0.9), 9 * DAY) is None
    assert lost_of(units(20, 1.0), 9 * DAY) is None


def test_a_benefit_that_is_gone_is_said_with_its_size():
    """No difference any more is shown against a goal of ten per cent."""
    lost = lost_of(units(6000, 1.0), 9 * DAY)
    assert lost is not None
    assert "latency improves by less than 10 %" in lost


def test_good_months_do_not_hide_a_bad_one():
    """Only the present period counts: twenty thousand good units before it change nothing."""
    before, now = units(20_000, 0.6), units(6000, 1.0, start_ns=10 * DAY)
    assert lost_of([*before, *now], 9 * DAY) is None
    assert lost_of([*before, *now], 19 * DAY) is not None


def test_the_first_period_has_no_start():
    """What an agent whose clock is behind did in the active stage is of the first period; alpha is spent period by period."""
    first, second = period_of(PLAN, 100 * DAY, 101 * DAY), period_of(PLAN, 100 * DAY, 111 * DAY)
    assert first.start_ns == 0
    assert second.start_ns == 110 * DAY
    assert first.plan.alpha == PLAN.alpha / 2
    assert second.plan.alpha == PLAN.alpha / 6


def test_what_meets_its_goal_is_seldom_lost():
    """Sixty policies exactly at their goal, looked at four times each: at most alpha are retired."""
    lost = 0
    for seed in range(60):
        rows = units(800, 0.9, seed=seed)
        lost += any(lost_of(rows[:end], 9 * DAY) for end in range(200, 801, 200))
    assert lost <= 60 * PLAN.alpha


def test_the_outcome_holds_effects_load_and_what_users_felt():
    """Plain data: the measured effects with intervals, units a day, and each kind of user apart."""
    rows = units(3000, 0.8, satisfaction=lambda arm: 0.9 if arm == "treatment" else 0.7, interrupted=lambda _arm: 0.0)
    told = outcome_of(compare(DECISION, PLAN, rows, 9 * DAY), rows)
    assert told["goal"] == "latency"
    assert told["effects"]["latency"]["estimate"] == pytest.approx(-0.2, abs=0.04)
    assert told["effects"]["latency"]["low"] < -0.2 < told["effects"]["latency"]["high"]
    assert told["units_per_day"] == pytest.approx(300, rel=0.01)
    assert told["user_impact"]["everybody"]["treatment"]["satisfaction"] == pytest.approx(0.9)
    assert told["user_impact"]["regular"]["baseline"]["satisfaction"] == pytest.approx(0.7)


def test_kinds_of_users_by_their_conversations():
    """Who is not known is no kind of user; a kind with too few units is left out."""
    assert [segment_of(count) for count in (0, 1, 2, 9, 10)] == ["unknown", "new", "regular", "regular", "heavy"]
    assert user_impact(units(6, 1.0)) == {}
