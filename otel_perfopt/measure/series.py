"""Numbers over time: `Execution`s in, regular `Series` by metric and command out, and gaps of a series filled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import Execution, Outcome, Target
from otel_perfopt.measure.measurement import Measurement, Series

HOUR_S: Final = 3600.0
MAX_COMMANDS = 200
MAX_BINS = 20_000  # more than two years of hours; a clock set wrong must not fill memory
MAX_SCATTERED = 3  # bins; a longer gap is a block

LATENCY_MEAN: Final = "latency.mean"  # seconds
LATENCY_P95: Final = "latency.p95"  # seconds
TOKENS: Final = "tokens"
TOKENS_PER_RUN: Final = "tokens.per_run"
ERRORS: Final = "errors"  # failed runs
ERROR_SHARE: Final = "errors.share"  # of the runs, 0 to 1
COUNT: Final = "count"  # runs
CONCURRENCY: Final = "concurrency"  # runs at once, on average over the bin
MEMORY: Final = "memory.rss"  # bytes that a process held as its commands ended, on average

MOST_BINS_OF_A_RUN = 200  # a run that lasts longer is one that nobody ended

_OVERFLOW = Target(service=c.METRIC_OVERFLOW)


@dataclass(slots=True)
class _Bin:
    """What happened in one bin."""

    count: int = 0
    errors: int = 0
    tokens: int = 0
    busy_ns: int = 0
    memory: float = 0.0
    memory_stated: int = 0
    latency: Measurement = field(default_factory=Measurement)


# What a bin says, given how long bins are in nanoseconds.
_VALUES: Final[dict[str, Callable[[_Bin, int], float | None]]] = {
    LATENCY_MEAN: lambda found, _: found.latency.mean,
    LATENCY_P95: lambda found, _: found.latency.quantile(0.95),
    TOKENS: lambda found, _: float(found.tokens),
    TOKENS_PER_RUN: lambda found, _: found.tokens / found.count if found.count else None,
    ERRORS: lambda found, _: float(found.errors),
    ERROR_SHARE: lambda found, _: found.errors / found.count if found.count else None,
    COUNT: lambda found, _: float(found.count),
    CONCURRENCY: lambda found, step_ns: found.busy_ns / step_ns,
    MEMORY: lambda found, _: found.memory / found.memory_stated if found.memory_stated else None,
}
_EMPTY = _Bin()


class SeriesBuilder:
    """Sorts runs by the bin of `step_s` seconds in which they started, by command and over all of them.

    Only runs with a clock count. Beyond `MAX_COMMANDS` commands, new ones share one overflow
    target; where runs spread over more than `MAX_BINS` bins (a clock set wrong), a series is the
    stretch of that length with the most runs.
    """

    def __init__(self, step_s: float = HOUR_S) -> None:
        self.step_s = step_s
        self._step_ns = round(step_s * 1e9)
        self._bins: dict[Target, dict[int, _Bin]] = {}

    def add(self, execution: Execution) -> None:
        """Take one run into account."""
        if not execution.timed or execution.command.start_ns <= 0:
            return
        for target in (Target(), self._target(execution)):
            found = self._bins.setdefault(target, {}).setdefault(execution.command.start_ns // self._step_ns, _Bin())
            found.count += 1
            found.errors += execution.outcome is Outcome.FAILED
            found.tokens += execution.tokens.total or 0
            found.latency.add(execution.duration_s)
            _add_memory(found, execution.command.attributes.get(c.COMMAND_MEMORY))
            self._spread(self._bins[target], execution)

    def add_runs(self, target: Target, index: int, runs: Measurement, errors: int, tokens: int) -> None:
        """Take runs into account that a store has added up: those of one target that began in bin `index`, in seconds."""
        for each in (Target(), self._own(target)):
            found = self._bins.setdefault(each, {}).setdefault(index, _Bin())
            found.count += runs.count
            found.errors += errors
            found.tokens += tokens
            found.latency.merge(runs)

    def add_busy(self, target: Target, index: int, busy_ns: int) -> None:
        """Take into account for how long runs of one target were under way in bin `index`."""
        for each in (Target(), self._own(target)):
            self._bins.setdefault(each, {}).setdefault(index, _Bin()).busy_ns += busy_ns

    def take_memory(self, sample: SeriesBuilder) -> None:
        """Take over what `sample`, a builder of some of the same runs, knows of memory: a mean of a part is a mean."""
        for target, bins in sample._bins.items():
            own = self._bins.get(target)
            for index, found in bins.items() if own is not None else ():
                if found.memory_stated and own is not None and index in own:
                    own[index].memory, own[index].memory_stated = found.memory, found.memory_stated

    def _spread(self, bins: dict[int, _Bin], execution: Execution) -> None:
        """Add a run's time to every bin in which it was under way; a bin that no run has begun in yet is made."""
        start, end = execution.command.start_ns, execution.command.end_ns
        first = start // self._step_ns
        for index in range(first, min((max(start, end - 1)) // self._step_ns, first + MOST_BINS_OF_A_RUN) + 1):
            low, high = max(start, index * self._step_ns), min(end, (index + 1) * self._step_ns)
            if index == first or high > low:
                bins.setdefault(index, _Bin()).busy_ns += max(0, high - low)

    def _target(self, execution: Execution) -> Target:
        of = execution.command.target
        return self._own(Target(service=of.service, command=of.command))

    def _own(self, target: Target) -> Target:
        return target if target in self._bins or len(self._bins) <= MAX_COMMANDS else _OVERFLOW

    def targets(self) -> tuple[Target, ...]:
        """Return whose series there are; `Target()` is everything."""
        return tuple(self._bins)

    def series(self, metric: str, target: Target = Target()) -> Series | None:  # noqa: B008 - frozen
        """Return one metric of one target from its first to its last run; None without runs that state it.

        In a bin without runs, counts, errors, tokens and concurrency are 0, and what is of a run
        (latencies, tokens and errors per run, memory) a gap.

        Raises:
            KeyError: there is no such metric.
        """
        value_of = _VALUES[metric]
        bins = self._bins.get(target)
        if not bins:
            return None
        first, last = _busiest({index: found for index, found in bins.items() if found.count})
        values = tuple(value_of(bins.get(index, _EMPTY), self._step_ns) for index in range(first, last + 1))
        if all(value is None for value in values):
            return None
        return Series(metric, target, first * self._step_ns, self.step_s, values)

    def all(self) -> Iterator[Series]:
        """Yield every metric of every target."""
        for target in self._bins:
            for metric in _VALUES:
                found = self.series(metric, target)
                if found is not None:
                    yield found


def _add_memory(found: _Bin, stated: object) -> None:
    if isinstance(stated, int | float) and not isinstance(stated, bool) and stated > 0:
        found.memory += stated
        found.memory_stated += 1


def _busiest(bins: dict[int, _Bin]) -> tuple[int, int]:
    """Return the first and last bin of the stretch of at most `MAX_BINS` bins that holds the most runs."""
    ordered = sorted(bins)
    if ordered[-1] - ordered[0] < MAX_BINS:
        return ordered[0], ordered[-1]
    best, runs, start = (0, ordered[0], ordered[0]), 0, 0
    for last in ordered:
        runs += bins[last].count
        while last - ordered[start] >= MAX_BINS:
            runs -= bins[ordered[start]].count
            start += 1
        best = max(best, (runs, ordered[start], last))
    return best[1], best[2]


@dataclass(frozen=True, slots=True)
class FilledSeries:
    """A series without gaps, and which of its bins were filled: those are not to be scored."""

    series: Series
    values: tuple[float, ...]
    filled: tuple[bool, ...]


def fill_gaps(series: Series, max_scattered: int = MAX_SCATTERED) -> FilledSeries | None:
    """Fill a series' gaps; None when nothing was observed at all.

    Up to `max_scattered` bins in a row between observations are put on the straight line between
    them. Longer gaps, and those at an end, take the median of the same hour of the week (of the
    same bin of it, for bins shorter than an hour), else of the same time of the day, else of all.
    """
    observed = {index: value for index, value in enumerate(series.values) if value is not None}
    if not observed:
        return None
    by_week, by_day = _Profile(series, observed, 7 * 24 * HOUR_S), _Profile(series, observed, 24 * HOUR_S)
    overall = median(observed.values())
    values = [0.0 if value is None else value for value in series.values]
    for start, end in _gaps(series.values):
        scattered = end - start <= max_scattered and start > 0 and end < len(values)
        for index in range(start, end):
            if scattered:
                share = (index - start + 1) / (end - start + 1)
                values[index] = values[start - 1] + share * (values[end] - values[start - 1])
            else:
                usual = by_week.usual(index)
                usual = by_day.usual(index) if usual is None else usual
                values[index] = overall if usual is None else usual
    filled = tuple(value is None for value in series.values)
    return FilledSeries(replace(series, values=tuple(values)), tuple(values), filled)


def _gaps(values: tuple[float | None, ...]) -> Iterator[tuple[int, int]]:
    start: int | None = None
    for index, value in enumerate((*values, 0.0)):
        if value is None:
            start = index if start is None else start
        elif start is not None:
            yield start, index
            start = None


class _Profile:
    """The median of what was observed at each bin of a period (a day, a week) by the clock."""

    def __init__(self, series: Series, observed: dict[int, float], period_s: float) -> None:
        self._first_s = series.start_ns / 1e9
        self._step_s = series.step_s
        self._period_s = period_s
        places: dict[int, list[float]] = {}
        if series.step_s <= period_s:
            for index, value in observed.items():
                places.setdefault(self._place(index), []).append(value)
        self._medians = {place: median(found) for place, found in places.items()}

    def usual(self, index: int) -> float | None:
        """Return the median at this bin's place in the period; None where nothing was observed."""
        return self._medians.get(self._place(index))

    def _place(self, index: int) -> int:
        return int((self._first_s + index * self._step_s) % self._period_s // self._step_s)
