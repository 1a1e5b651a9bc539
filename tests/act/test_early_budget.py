"""Budgets of early calls on the agent's side: never more than declared, by share when they are short, shared when not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.act.clock import Clock
from otel_perfopt.act.early_budget import MAX_BUCKETS, EarlyBudgets
from otel_perfopt.decide.early_share import EarlyShare

SECOND = 10**9


class Time:
    """A clock that the test moves."""

    def __init__(self):
        self.now_ns = 0
        self.clock = Clock(lambda: self.now_ns, lambda: self.now_ns)


def budget(per_minute=60.0, floor=0.05, name="p", **shares):
    return EarlyShare(name, per_minute, floor, shares)


def test_without_a_budget_nothing_is_asked():
    """A policy without a budget makes its early calls as ever, and keeps nothing."""
    budgets = EarlyBudgets(Time().clock)
    assert all(budgets.take((), "/any") for _ in range(1000))
    assert not budgets._buckets


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.floats(0, 20)), min_size=1, max_size=150))
def test_no_order_of_calls_gets_more_than_the_budget(calls):
    """Whatever commands ask when, calls in any stretch are at most a minute's budget and what has come in since."""
    time = Time()
    budgets, declared, taken = EarlyBudgets(time.clock), budget(30.0, a=0.6, b=0.4), 0
    for command, seconds in calls:
        time.now_ns += int(seconds * SECOND)
        taken += budgets.take((declared,), command)
    assert taken <= 30 + time.now_ns / SECOND * 0.5 + 1e-6


def test_short_budgets_go_by_share_and_every_command_keeps_its_floor():
    """Two commands that always ask: nine tenths to the one, a tenth to the other, and never nothing."""
    time = Time()
    budgets, declared = EarlyBudgets(time.clock), budget(60.0, used=0.9, vain=0.1)
    made = {"used": 0, "vain": 0}
    for second in range(1200):
        time.now_ns = second * SECOND
        for command in ("vain", "used") * 3:
            made[command] += budgets.take((declared,), command)
    assert 0.85 < made["used"] / sum(made.values()) < 0.95
    assert made["vain"] > 60
    assert sum(made.values()) <= 1200 + 60


def test_what_nobody_else_asks_for_may_be_used():
    """A command with a small share gets half of the minute and more while the others want nothing."""
    time = Time()
    budgets, declared = EarlyBudgets(time.clock), budget(60.0, used=0.95, vain=0.05)
    assert sum(budgets.take((declared,), "vain") for _ in range(100)) >= 30


def test_several_budgets_must_all_have_room_and_a_refusal_takes_nothing():
    """The boundary's budget bounds two policies together; what one refuses is not taken from the other."""
    time = Time()
    budgets = EarlyBudgets(time.clock)
    own, shared = budget(1000.0, name="p", a=1.0), budget(10.0, name="boundary b", a=1.0)
    assert sum(budgets.take((own, shared), "a") for _ in range(50)) == 10
    assert budgets._buckets["p", ""].left == 990
    assert not budgets.take((shared,), None)
    time.now_ns += 60 * SECOND
    assert sum(budgets.take((shared,), None) for _ in range(50)) == 10


def test_commands_without_end_cost_no_memory():
    """Ten thousand commands leave at most 512 buckets."""
    budgets = EarlyBudgets(Time().clock)
    for number in range(10_000):
        budgets.take((budget(1e6),), f"/{number}")
    assert len(budgets._buckets) <= MAX_BUCKETS
