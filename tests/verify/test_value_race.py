"""Tuning with planted truth: the best value is kept, equals are seldom dropped, at the limit the declared one stays."""

from __future__ import annotations

import random

from otel_perfopt.verify.value_race import ValueRace


def tuned(seed, truth, units=8000, *, declared=0, max_units=6000, alpha=0.05):
    """Return the values left after so many units, and how many were needed until one was left."""
    draw = random.Random(seed)
    left = list(range(len(truth)))
    race = ValueRace(
        "latency", left, alpha=alpha, min_units=100, max_units=max_units, declared=declared, among=len(truth)
    )
    answers = []
    for count in range(units):
        index = draw.choice(left)
        race.observe(str(count), index, truth[index] * draw.lognormvariate(0, 0.4), count)
        answer = race.answer() if count % 100 == 0 else None
        if answer is not None:
            answers.append(answer)
            for one in answer.values:
                race.drop(one)
                left.remove(one)
        if len(left) == 1:
            return left, count, answers
    return left, units, answers


def test_the_best_value_is_found():
    """Of four values that differ by fifths the best is left in each of ten trials, on evidence."""
    for seed in range(10):
        left, count, answers = tuned(seed, [1.3, 1.0, 0.75, 1.1])
        assert left == [2]
        assert count < 6000
        assert not any(answer.at_limit for answer in answers)
        assert all(answer.numbers["low"] > 0 for answer in answers)


def test_equal_values_end_at_the_limit_with_the_declared_one():
    """Among equals hardly anything is dropped before the limit, where the declared value stays."""
    kept = [tuned(seed, [1.0] * 4, declared=1, max_units=3000) for seed in range(10)]
    assert sum(left == [1] and answers[0].at_limit for left, _, answers in kept) >= 9


def test_at_the_limit_without_a_declared_value_the_best_guess_stays():
    """Where the declared value is not among those tried, the one that looked best is kept, and it is said why."""
    left, _, answers = tuned(1, [1.0, 0.98], declared=None, max_units=1000)
    assert len(left) == 1
    assert answers[-1].at_limit
