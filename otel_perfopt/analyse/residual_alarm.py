"""When a series left its rhythm and noise: a filled series in, alarms that are not repeated out."""

from __future__ import annotations

from collections import deque

import numpy as np

from otel_perfopt.analyse.gaps import FilledValues, Values
from otel_perfopt.analyse.history import NotEnoughHistory, ResidualAlarm
from otel_perfopt.analyse.surprise import DAYS, SMOOTHED_BINS, expectation, seasonal_views, surprise
from otel_perfopt.analyse.tail import Tail

DAY_S = 86_400
# One threshold for every series, the one that scores best on the labelled series of NAB (benchmarks/series_nab.py).
THRESHOLD = 0.78
SUPPRESSED_DAYS = 1.5
RECENT_DAYS = 2
MIN_DAYS = 7


def suppress(scores: Values, bins: int) -> Values:
    """Keep a score only where it exceeds all that were kept in the `bins` before it; the others become 0.

    An anomaly is told once, when it begins, and again only when it grows.
    """
    kept = np.zeros(scores.size)
    # Kept scores still in reach, the largest first: each is larger than all after it.
    recent: deque[tuple[int, float]] = deque()
    for place, value in enumerate(scores.tolist()):
        while recent and recent[0][0] < place - bins:
            recent.popleft()
        if value > (recent[0][1] if recent else 0.0):
            kept[place] = value
            recent.clear()
            recent.append((place, value))
    return kept


def alarms_of(filled: FilledValues, *, alpha: float = 0.05) -> tuple[ResidualAlarm, ...] | NotEnoughHistory:
    """Return the alarms of the last two days; at most `alpha` of series that only repeat and vary have any.

    An alarm needs a score that is an anomaly on any series and is rare for this one: noise with wild
    hours has wild scores. Each alarm lasts from the bin that rang it to the last one above the
    threshold before a quiet day and a half.
    """
    day = max(1, round(DAY_S / filled.step_s))
    if filled.values.size < MIN_DAYS * day:
        has, needs = int(filled.observed.sum()), MIN_DAYS * day
        return NotEnoughHistory(f"{filled.values.size} hours of history; alarms need at least {needs}", has, needs)
    scores = np.where(filled.observed, surprise(filled.values, day), 0.0)
    recent = min(RECENT_DAYS * day, filled.values.size // 4)
    start = filled.values.size - recent
    # The first days have no past to be compared with.
    size = np.mean(seasonal_views(filled.values, day), axis=0)
    decades = Tail.of(size[min(2 * day, start // 2) : start]).surely(size, SMOOTHED_BINS)
    ringing = (scores >= THRESHOLD) & (decades >= -np.log10(alpha / recent))
    ringing[:start] = False
    return tuple(_describe(filled, day, scores, decades, ringing))


def _describe(
    filled: FilledValues, day: int, scores: Values, decades: Values, ringing: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> list[ResidualAlarm]:
    expected = expectation(filled.values, day, DAYS)
    apart = round(SUPPRESSED_DAYS * day)
    found: list[ResidualAlarm] = []
    places = np.flatnonzero(ringing)
    for group in np.split(places, np.flatnonzero(np.diff(places) > apart) + 1) if places.size else []:
        worst = int(group[np.argmax(scores[group])])
        found.append(
            ResidualAlarm(
                start_ns=filled.first_bin_ns + round(int(group[0]) * filled.step_s * 1e9),
                end_ns=filled.first_bin_ns + round((int(group[-1]) + 1) * filled.step_s * 1e9),
                observed=float(filled.values[worst]),
                expected=float(expected[worst]),
                surprise=float(decades[worst]),
            )
        )
    return found
