"""The types that say what a series did over time: a `Series` in, its trend, season and change points out."""

from __future__ import annotations

from dataclasses import dataclass

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.measure.measurement import Series


@dataclass(frozen=True, slots=True)
class NotEnoughHistory:
    """Why nothing can be said yet: `reason` is a sentence, `has` and `needs` count observed bins."""

    reason: str
    has: int = 0
    needs: int = 0


@dataclass(frozen=True, slots=True)
class Trend:
    """A straight line through the de-seasonalised series.

    `slope_per_day` is in the series' unit; `relative_per_day` the same as a share of the series'
    median (None where the median is zero). `significant` says that the interval excludes zero.
    """

    slope_per_day: Interval
    relative_per_day: Interval | None
    significant: bool


@dataclass(frozen=True, slots=True)
class SeasonalPeriod:
    """One period that both tests accept: the spectral peak over its floor, and agreement of the two halves.

    `split_half_r2` is the share of one half's variance that the other half's profile explains;
    `strength` is the season's share of the variance left by the trend (0 to 1); `profile` the mean
    departure from the level at each bin of the period, from the first bin after midnight UTC
    (weekly: Monday's).
    """

    bins: int
    name: str
    strength: float
    split_half_r2: float
    profile: tuple[float, ...]
    peak_bin: int
    peak_relative: float | None


@dataclass(frozen=True, slots=True)
class Season:
    """The periods found (none is a result too); `seasonal` holds the seasonal part of every bin."""

    periods: tuple[SeasonalPeriod, ...]
    seasonal: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A lasting shift: the first bin of the new level, the levels either side, and the shift with its interval."""

    bin: int
    time_ns: int
    before: float
    after: float
    shift: Interval
    relative: Interval | None


@dataclass(frozen=True, slots=True)
class History:
    """One series and what was found in it; each part says so itself where there is not enough history."""

    name: str
    unit: str
    series: Series
    season: Season | NotEnoughHistory
    trend: Trend | NotEnoughHistory
    change_points: tuple[ChangePoint, ...] | NotEnoughHistory
