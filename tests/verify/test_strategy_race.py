"""Switching between strategies with planted truth: what is better is found, what is equal is seldom switched."""

from __future__ import annotations

import random

import pytest

from otel_perfopt.verify.change_alarm import ChangeAlarm
from otel_perfopt.verify.strategy_race import EXPLORE, KEEP, SWITCH, RaceSettings, StrategyRace

SECOND = 10**9
EQUAL = {"a": 0.475, "b": 0.475}
FRONT = {"a": 0.85, "b": 0.1}


def raced(seed, seconds, shares, *, exploring, units=6000, **settings):
    """Return the first answer and after how many units it came."""
    draw = random.Random(seed)
    race = StrategyRace(RaceSettings("latency", **settings), "a", shares, 0, exploring=exploring)
    for count in range(units):
        place = draw.random()
        member = "a" if place < shares["a"] else "b" if place < sum(shares.values()) else None
        if member is not None:
            race.observe(str(count), member, seconds(count)[member] * draw.lognormvariate(0, 0.4), count * SECOND)
        answer = race.answer(count * SECOND) if count % 25 == 0 else None
        if answer is not None:
            return answer, count
    return None, units


@pytest.mark.parametrize("seed", range(5))
def test_a_better_challenger_takes_the_lead(seed):
    """A quarter faster is shown within some hundred units; the sentence and the numbers say by how much."""
    answer, count = raced(seed, lambda _: {"a": 1.0, "b": 0.75}, EQUAL, exploring=True)
    assert (answer.kind, answer.to) == (SWITCH, "b")
    assert count < 1000
    assert answer.numbers["high"] < 0
    assert "is shown better than a: latency -" in answer.reason


@pytest.mark.parametrize("seed", range(5))
def test_a_better_leader_stays(seed):
    """A challenger that is a quarter slower ends the exploration with the leader kept."""
    answer, _ = raced(seed, lambda _: {"a": 0.75, "b": 1.0}, EQUAL, exploring=True)
    assert (answer.kind, answer.to) == (KEEP, "a")


def test_equals_are_not_switched():
    """Of thirty explorations between equals hardly any ends in a switch; the others end at their limit."""
    answers = [
        raced(seed, lambda _: {"a": 1.0, "b": 1.0}, EQUAL, exploring=True, max_units=1000)[0] for seed in range(30)
    ]
    assert sum(answer.kind == SWITCH for answer in answers) <= 3
    assert sum(answer.kind == KEEP for answer in answers) >= 27


def test_what_a_switch_costs_must_be_earned():
    """Ten percent better is no reason where a switch must bring thirty."""
    answer, _ = raced(1, lambda _: {"a": 1.0, "b": 0.9}, EQUAL, exploring=True, switch_cost=0.3)
    assert answer.kind == KEEP


def test_a_flip_leads_back_to_exploring_and_never_at_once_to_a_switch():
    """When the leader becomes the worse one, the hold-out or its own change shows it; calm before shows nothing."""
    calm, count = raced(3, lambda _: {"a": 0.75, "b": 1.0}, FRONT, exploring=False, units=3000)
    assert calm is None
    answer, count = raced(3, lambda n: {"a": 0.75 if n < 3000 else 1.3, "b": 1.0}, FRONT, exploring=False)
    assert (answer.kind, answer.to) == (EXPLORE, "a")
    assert 3000 < count < 3600


def test_nothing_happens_before_the_dwell_time_is_over():
    """However clear it is, what was chosen is given its time."""
    answer, count = raced(3, lambda _: {"a": 3.0, "b": 1.0}, FRONT, exploring=False, dwell_s=2000.0)
    assert answer.kind == EXPLORE
    assert count >= 2000


def test_a_unit_counts_once_with_the_mean_of_its_runs():
    """Many runs of few units are no evidence: what looks clear by runs is left open by units."""
    draw = random.Random(5)
    race = StrategyRace(RaceSettings("latency", max_units=10_000), "a", EQUAL, 0, exploring=True)
    usual = {f"{member}-{number}": draw.lognormvariate(0, 0.5) for member in "ab" for number in range(8)}
    for count in range(3000):
        unit = draw.choice(sorted(usual))
        race.observe(unit, unit[0], usual[unit] * draw.lognormvariate(0, 0.1), count)
    assert race.units == {"a": 8, "b": 8}
    assert race.answer(3000) is None


def test_failures_are_compared_too():
    """A metric of events goes to its exact test."""
    draw = random.Random(2)
    race = StrategyRace(RaceSettings("task_failure"), "a", EQUAL, 0, exploring=True)
    for count in range(4000):
        member = "a" if count % 2 else "b"
        race.observe(str(count), member, float(draw.random() < (0.3 if member == "a" else 0.1)), count)
        answer = race.answer(count) if count % 20 == 0 else None
        if answer is not None:
            break
    assert (answer.kind, answer.to) == (SWITCH, "b")


def test_the_alarm_sees_a_move_soon_and_is_quiet_without_one():
    """A move is nearly always seen within 300 values; twenty streams of 5,000 raise at most four false alarms."""
    false = 0
    for seed in range(20):
        draw, alarm = random.Random(seed), ChangeAlarm()
        for _ in range(5000):
            alarm.observe(draw.lognormvariate(0, 0.5))
        false += alarm.raised
    assert false <= 4
    assert sum(600 < first_alarm(seed) < 900 for seed in range(10)) >= 8


def first_alarm(seed):
    """Return after how many values a move at 600 by six tenths of a standard deviation raises the alarm."""
    draw, alarm = random.Random(seed), ChangeAlarm()
    for count in range(3000):
        alarm.observe(draw.lognormvariate(0.3 if count > 600 else 0.0, 0.5))
        if alarm.raised:
            return count
    return 3000
