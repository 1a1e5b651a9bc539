"""Before/after: the season removed, the interval honest about days, never a verdict."""

from __future__ import annotations

import math
import random

from otel_perfopt.verify.before_after import DAY_NS, HOUR_NS, before_after

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
