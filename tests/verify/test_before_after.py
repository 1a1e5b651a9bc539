"""Before/after: the season removed, the interval honest about days, never a verdict."""

from __future__ import annotations

import math
import random

import pytest

from otel_perfopt.execution.model import Execution, Step, StepKind, Target
from otel_perfopt.verify.before_after import DAY_NS, HOUR_NS, LoggedValues, before_after, before_after_sums
from otel_perfopt.verify.hourly_history import MAX_HOURS, HourlyHistory

CHANGE_NS = 20 * 7 * DAY_NS


def values(rng: random.Random, effect: float, days: tuple[int, int] = (-14, 10), daily_sd: float = 0.05):
    """Hourly values with a daily season twice the size of the noise, and luck that whole days share."""
    for day in range(*days):
        luck = rng.gauss(0, daily_sd)
        for hour in range(8, 20):
            at = CHANGE_NS + day * DAY_NS + hour * HOUR_NS
            season = 0.6 * math.sin(hour / 24 * 2 * math.pi) + (0.5 if at // DAY_NS % 7 > 4 else 0.0)
            yield at, math.exp(season + luck + rng.gauss(0, 0.2) + (math.log(effect) if day >= 0 else 0.0))


def test_a_planted_change_is_recovered_and_labelled():
    """−30 % comes out inside the interval, which excludes none, with its caveat."""
    found = before_after(values(random.Random(1), 0.7), CHANGE_NS)
    assert found is not None
    assert found.effect.low < -0.3 < found.effect.high < -0.2
    assert "Descriptive" in found.caveat
    assert found.compared == 1.0


def test_the_interval_covers_about_as_often_as_it_says():
    """With no change and luck shared by days, a 90 % interval covers zero in 80 to 98 % of 200 histories."""
    rng = random.Random(2)
    found = [before_after(values(rng, 1.0, (-14, 14)), CHANGE_NS, level=0.9) for _ in range(200)]
    covered = sum(one is not None and one.effect.low <= 0 <= one.effect.high for one in found)
    assert 160 <= covered <= 196


def test_the_season_does_not_pass_for_a_change():
    """Weekdays against a week with its weekend: the adjusted change is small, the plain one is not."""
    rows = list(values(random.Random(3), 1.0, (-12, 4), daily_sd=0.0))
    plain = [[math.log(v) for at, v in rows if (at >= CHANGE_NS) == after] for after in (False, True)]
    found = before_after(rows, CHANGE_NS)
    assert found is not None
    assert abs(sum(plain[1]) / len(plain[1]) - sum(plain[0]) / len(plain[0])) > 0.1
    assert abs(found.effect.estimate) < 0.06


def test_too_little_is_nothing():
    """Two days, no common hours, or unusable values: None rather than a number."""
    assert before_after([], CHANGE_NS) is None
    assert before_after(values(random.Random(4), 1.0, (-14, 2)), CHANGE_NS) is None
    assert before_after([(CHANGE_NS, math.nan), (0, -1.0), (1, math.inf)], CHANGE_NS) is None


def test_sums_by_hour_say_the_same_as_single_values():
    """Hourly sums, which is all that is kept of months of runs, give the effect and interval of the values."""
    rows = list(values(random.Random(5), 0.8))
    by_hour: dict[int, list[float]] = {}
    for at, value in [*rows, *((at, 2 * value) for at, value in rows)]:
        by_hour.setdefault(at, []).append(math.log(value))
    sums = [LoggedValues(at, len(logs), sum(logs)) for at, logs in by_hour.items()]
    from_sums = before_after_sums(sums, CHANGE_NS)
    singly = before_after([*rows, *((at, 2 * value) for at, value in rows)], CHANGE_NS)
    assert from_sums.effect.estimate == pytest.approx(singly.effect.estimate)
    assert from_sums.effect.low == pytest.approx(singly.effect.low)
    assert (from_sums.before, from_sums.after, from_sums.compared) == (singly.before, singly.after, singly.compared)


def run(at_ns: int, seconds: float, name: str = "/task") -> Execution:
    command = Step("t", "s", "", StepKind.COMMAND, name, Target(), at_ns, at_ns + int(seconds * 1e9))
    return Execution(command, (), "c")


def test_history_of_runs_is_kept_by_command_and_bounded():
    """The change of one command's runs is its own; the hour of the change is left out, and memory is bounded."""
    history, rng = HourlyHistory(), random.Random(6)
    for at, value in values(rng, 0.7):
        history.observe(run(at, value))
        history.observe(run(at, 1.0, "/query"))
    history.observe(run(CHANGE_NS + 1, 1e6))
    found = history.before_after(["/task"], "latency", CHANGE_NS)
    assert found.effect.low < -0.3 < found.effect.high < -0.2
    assert abs(history.before_after(["/query"], "latency", CHANGE_NS).effect.estimate) < 1e-9
    assert history.before_after(["/other"], "latency", CHANGE_NS) is None
    assert history.before_after(["/task"], "satisfaction", CHANGE_NS) is None
    for hour in range(MAX_HOURS + 50):
        history.observe(run(hour * HOUR_NS, 1.0, "/long"))
    assert sum(one.count for one in history._sums(["/long"], "latency", -HOUR_NS)) == MAX_HOURS
