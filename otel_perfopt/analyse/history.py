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
    """A lasting shift: the first bin of the new level, the levels either side, and the shift with its interval.

    `dates_to` names what changed about the runs in the hours around it; a shift may have other causes.
    """

    bin: int
    time_ns: int
    before: float
    after: float
    shift: Interval
    relative: Interval | None
    dates_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a series is expected to do next, one entry a bin of `step_s` seconds from `start_ns`.

    `method` did best in `trials` forecasts of the past and has `weight` of the forecast, seasonal-naive
    the rest; `error` is the mean absolute error of that mix there, in the series' unit, and `to_naive`
    that error over seasonal-naive's (1 = the same). Each interval from `low` to `high` is to hold `level` of the values; `coverage` is the
    share that intervals from earlier trials held of later ones (None: too few trials to tell); where
    that was too little, the intervals here are wider by as much.
    """

    method: str
    weight: float
    start_ns: int
    step_s: float
    expected: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    level: float
    coverage: float | None
    error: float
    to_naive: float
    trials: int


@dataclass(frozen=True, slots=True)
class ComingWindow:
    """A high or low of a rhythm that is to come (or has begun): `kind` is `peak` or `trough`.

    `relative` is how far the window's mean lies above (below: negative) the typical level, with the
    interval that the next such window is to fall into; `expected` is that mean in the series' unit.
    """

    kind: str
    start_ns: int
    end_ns: int
    expected: float
    typical: float
    relative: Interval
    cycles: int


@dataclass(frozen=True, slots=True)
class ResidualAlarm:
    """A stretch of bins that neither rhythm nor noise explain: what was observed at its most surprising bin.

    `expected` is what the bins before led to expect there; `surprise` is minus the decimal logarithm
    of how likely noise alone is to get so far.
    """

    start_ns: int
    end_ns: int
    observed: float
    expected: float
    surprise: float


@dataclass(frozen=True, slots=True)
class LoadCorrelation:
    """How one series follows the load once rhythm and shifts are left out of both.

    `correlation` is of ranks, at the lag where it is strongest: the series follows `lag_bins` bins
    after the load. `relative` is how much of its median the series moves when the load is one
    standard deviation higher; `p_value` is over all lags and series of the report together.
    """

    series: str
    metric: str
    lag_bins: int
    lag_s: float
    correlation: Interval
    relative: Interval | None
    p_value: float


@dataclass(frozen=True, slots=True)
class Regression:
    """A series that shifted when something about the runs changed: `dimension` (release, model, prompt, policy).

    `before` and `after` are the values that most runs had either side of `time_ns`; `shift` is in the
    series' unit with its interval, `relative` the same as a share of the level before. `also` names
    other things that changed in the same hours, which are then as likely the cause.
    """

    series: str
    metric: str
    dimension: str
    before: str
    after: str
    time_ns: int
    shift: Interval
    relative: Interval | None
    p_value: float
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """One series and what was found in it; each part says so itself where there is not enough history.

    `coming` are the windows of its rhythm that the forecast shows, in order of time; `alarms` are
    those of the whole history, each judged by what was known before it.
    """

    name: str
    unit: str
    series: Series
    season: Season | NotEnoughHistory
    trend: Trend | NotEnoughHistory
    change_points: tuple[ChangePoint, ...] | NotEnoughHistory
    forecast: Forecast | NotEnoughHistory | None = None
    coming: tuple[ComingWindow, ...] = ()
    alarms: tuple[ResidualAlarm, ...] | NotEnoughHistory = ()
