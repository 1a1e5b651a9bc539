"""Planted truth in series: generators that know what they hold in, precision, recall and false reports out.

python benchmarks/series_planted.py                # about three minutes
python benchmarks/series_planted.py --reports 40   # quicker

A report is what `perfopt analyze` says of load, latency, tokens and errors of six weeks, through the
same code. False reports: of those on pure noise, how many say anything at all. Recall: of reports with
one thing planted, how many find it where it is; precision: of all findings of that kind in reports with
it planted somewhere, how many are where it was planted. Effects are in standard deviations of the noise.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.analyse.histories import SeriesOutcome, outcome_of
from otel_perfopt.analyse.history import Season, Trend
from otel_perfopt.analyse.run_changes import RELEASE, RunChange
from otel_perfopt.execution.model import Target
from otel_perfopt.measure.measurement import Series
from otel_perfopt.measure.series import COUNT, ERROR_SHARE, LATENCY_MEAN, TOKENS_PER_RUN

Values = NDArray[np.float64]
HOURS = 1008
MONDAY_NS = 1_788_739_200_000_000_000
HOUR_NS = 3_600_000_000_000
METRICS = {COUNT: "load", LATENCY_MEAN: "latency", TOKENS_PER_RUN: "tokens", ERROR_SHARE: "errors"}


@dataclass(frozen=True)
class Truth:
    """What was planted, and in which metric."""

    kind: str = ""
    metric: str = LATENCY_MEAN
    hour: int = 0
    period: int = 0
    changes: tuple[RunChange, ...] = ()


@dataclass
class Tally:
    """How often what was planted was found, and how many findings of its kind were right."""

    reports: int = 0
    found: int = 0
    said: int = 0
    right: int = 0


def white(rng: np.random.Generator) -> Values:
    return rng.normal(size=HOURS)


def correlated(rng: np.random.Generator) -> Values:
    noise = rng.normal(size=HOURS + 100) * math.sqrt(1 - 0.6**2)
    for place in range(1, noise.size):
        noise[place] += 0.6 * noise[place - 1]
    return noise[100:]


def walk(rng: np.random.Generator) -> Values:
    return np.cumsum(rng.normal(size=HOURS))


def heavy(rng: np.random.Generator) -> Values:
    return rng.standard_t(3, HOURS)


def skewed(rng: np.random.Generator) -> Values:
    return rng.lognormal(0, 1, HOURS)


def counts(rng: np.random.Generator) -> Values:
    return rng.poisson(3.0, HOURS).astype(np.float64)


NOISES: Mapping[str, Callable[[np.random.Generator], Values]] = {
    "white": white,
    "correlated 0.6": correlated,
    "random walk": walk,
    "heavy tails (t, 3)": heavy,
    "log-normal": skewed,
    "counts of 3": counts,
}


def report(values: Mapping[str, Values], changes: tuple[RunChange, ...] = ()) -> SeriesOutcome:
    """Return the report on these series."""
    asked = [
        (Series(metric, Target(), MONDAY_NS, 3600.0, tuple(float(v) for v in values[metric])), name, "1")
        for metric, name in METRICS.items()
    ]
    return outcome_of(asked, changes)


def claims(outcome: SeriesOutcome) -> Iterator[tuple[str, str, int]]:
    """Yield kind, metric and hour (or period) of everything a report says."""
    for history in outcome.histories:
        metric = history.series.metric
        if isinstance(history.season, Season):
            yield from (("season", metric, period.bins) for period in history.season.periods)
        if isinstance(history.trend, Trend) and history.trend.significant:
            yield "trend", metric, 0
        if isinstance(history.change_points, tuple):
            yield from (("change_point", metric, change.bin) for change in history.change_points)
        if isinstance(history.alarms, tuple):
            yield from (("residual_alarm", metric, _hour(alarm.start_ns)) for alarm in history.alarms)
    yield from (("load_correlation", one.metric, one.lag_bins) for one in outcome.correlations)
    yield from (("regression", one.metric, _hour(one.time_ns)) for one in outcome.regressions)


def _hour(time_ns: int) -> int:
    return round((time_ns - MONDAY_NS) / HOUR_NS)


def plant(kind: str, effect: float, rng: np.random.Generator) -> tuple[dict[str, Values], Truth]:
    """Return four series of correlated noise about 20, one of them with something planted, and the truth."""
    values = {metric: 20 + correlated(rng) for metric in METRICS}
    hours = np.arange(HOURS)
    latency = values[LATENCY_MEAN]
    if kind == "season":
        period = int(rng.choice([24, 168]))
        latency += effect * np.sin(2 * np.pi * hours / period)
        return values, Truth(kind, period=period)
    if kind == "trend":
        latency += effect * hours / HOURS
        return values, Truth(kind)
    hour = int(rng.integers(300, 700))
    if kind == "change_point":
        latency += effect * (hours >= hour)
        return values, Truth(kind, hour=hour)
    if kind == "residual_alarm":
        hour = HOURS - int(rng.integers(14, 40))
        latency[hour : hour + 8] += effect
        return values, Truth(kind, hour=hour)
    if kind == "load_correlation":
        lag = int(rng.integers(0, 4))
        latency += effect * np.roll(values[COUNT] - 20, lag)
        return values, Truth(kind, hour=lag)
    latency += effect * (hours >= hour)
    others = [int(place) for place in rng.integers(100, 900, 3) if abs(int(place) - hour) > 60]
    changes = tuple(RunChange(RELEASE, "", "1", "2", MONDAY_NS + place * HOUR_NS) for place in (hour, *others))
    return values, Truth("regression", hour=hour, changes=changes)


# How far from the truth a claim may be: hours, or bins of a period or lag.
NEAR = {"season": 0, "trend": 0, "change_point": 24, "residual_alarm": 12, "load_correlation": 1, "regression": 0}
EFFECTS = {
    "season": (0.5, 1.0),
    "trend": (1.0, 2.0),
    "change_point": (1.0, 2.0),
    "residual_alarm": (4.0, 8.0),
    "load_correlation": (0.2, 0.5),
    "regression": (0.5, 1.0),
}


def is_right(kind: str, claim: tuple[str, str, int], truth: Truth) -> bool:
    """Tell whether a claim of the planted kind is where it was planted."""
    _, metric, place = claim
    wanted = truth.period or truth.hour
    return metric == truth.metric and abs(place - wanted) <= NEAR[kind]


def false_reports(reports: int) -> None:
    """Print how many reports on noise say anything."""
    print(f"\nReports on pure noise that claim anything (at most 5 % wanted; {reports} each)")
    said_in_all = 0
    for name, noise in NOISES.items():
        kinds: dict[str, int] = {}
        said = 0
        for seed in range(reports):
            rng = np.random.default_rng([seed, 7])
            values = {metric: 20 + noise(rng) for metric in METRICS}
            changes = tuple(RunChange(RELEASE, "", "1", "2", MONDAY_NS + h * HOUR_NS) for h in (300, 600))
            found = {kind for kind, _, _ in claims(report(values, changes))}
            said += bool(found)
            for kind in found:
                kinds[kind] = kinds.get(kind, 0) + 1
        said_in_all += said
        low, high = wilson(said, reports)
        print(f"  {name:20s} {said:3d} of {reports} ({100 * low:.1f} to {100 * high:.1f} %)  {kinds or ''}", flush=True)
    total = reports * len(NOISES)
    low, high = wilson(said_in_all, total)
    print(
        f"  {'all':20s} {said_in_all:3d} of {total}: {100 * said_in_all / total:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)"
    )


def wilson(found: int, count: int) -> tuple[float, float]:
    """Return the Wilson interval of a share."""
    z, share = 1.96, found / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return middle - half, middle + half


@dataclass
class Row:
    """One kind at one effect."""

    kind: str
    effect: float
    tally: Tally = field(default_factory=Tally)


def found_again(reports: int) -> None:
    """Print recall and precision of each kind."""
    print(f"\nWhat was planted in one of four series of correlated noise ({reports} reports each)")
    for kind, effects in EFFECTS.items():
        for effect in effects:
            tally = Tally()
            for seed in range(reports):
                values, truth = plant(kind, effect, np.random.default_rng([seed, 11]))
                of_kind = [claim for claim in claims(report(values, truth.changes)) if claim[0] == kind]
                right = [claim for claim in of_kind if is_right(kind, claim, truth)]
                tally.reports += 1
                tally.found += bool(right)
                tally.said += len(of_kind)
                tally.right += len(right)
            precision = f"{tally.right / tally.said:.2f}" if tally.said else "–"
            print(
                f"  {kind:18s} effect {effect:3.1f}  recall {tally.found / tally.reports:.2f}  precision {precision}  "
                f"({tally.right} of {tally.said} findings)",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=100)
    parser.add_argument("which", nargs="?", choices=("noise", "truth"))
    arguments = parser.parse_args()
    started = time.perf_counter()
    if arguments.which in (None, "noise"):
        false_reports(arguments.reports)
    if arguments.which in (None, "truth"):
        found_again(max(10, arguments.reports // 3))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
