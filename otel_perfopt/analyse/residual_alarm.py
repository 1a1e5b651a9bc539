"""When a series left its rhythm and noise: a filled series in, alarms that are not repeated out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from otel_perfopt.analyse.gaps import FilledValues, Values
from otel_perfopt.analyse.history import NotEnoughHistory, ResidualAlarm
from otel_perfopt.analyse.pulse_scan import innovations_of, stretches
from otel_perfopt.analyse.surprise import DAYS, expectation

DAY_S = 86_400
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

    An alarm is a departure from the rhythm, for one hour or up to sixteen, that noise like that of the days
    before does not make (`pulse_scan`). It begins where most came at once, and lasts until a quiet day
    and a half follow.
    """
    day = max(1, round(DAY_S / filled.step_s))
    if filled.values.size < MIN_DAYS * day:
        has, needs = int(filled.observed.sum()), MIN_DAYS * day
        return NotEnoughHistory(f"{filled.values.size} hours of history; alarms need at least {needs}", has, needs)
    start = filled.values.size - min(RECENT_DAYS * day, filled.values.size // 4)
    # The first days have no past to be compared with.
    past = slice(min(2 * day, start // 2), start)
    fresh = innovations_of(filled.values, filled.observed, day, past)
    sure = np.zeros(filled.values.size)
    for stretch in stretches(fresh, past, alpha):
        for end in (start + np.flatnonzero(stretch.decades[start:] >= stretch.needed)).tolist():
            first = max(start, end - stretch.bins + 1)
            onset = first + int(np.argmax(np.abs(fresh.values[first : end + 1])))
            sure[onset : end + 1] = np.maximum(sure[onset : end + 1], stretch.decades[end])
    return tuple(_describe(filled, day, sure))


def _describe(filled: FilledValues, day: int, sure: Values) -> Iterator[ResidualAlarm]:
    expected = expectation(filled.values, day, DAYS)
    apart = round(SUPPRESSED_DAYS * day)
    places = np.flatnonzero((sure > 0) & filled.observed)
    for group in np.split(places, np.flatnonzero(np.diff(places) > apart) + 1) if places.size else []:
        worst = int(group[np.argmax(np.abs(filled.values[group] - expected[group]))])
        yield ResidualAlarm(
            start_ns=filled.first_bin_ns + round(int(group[0]) * filled.step_s * 1e9),
            end_ns=filled.first_bin_ns + round((int(group[-1]) + 1) * filled.step_s * 1e9),
            observed=float(filled.values[worst]),
            expected=float(expected[worst]),
            surprise=float(sure[group].max()),
        )
