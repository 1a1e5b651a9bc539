"""Decomposition with our settings against statsmodels' own: the same series in, ratio of times and errors out.

python benchmarks/series_speed.py              # under a minute
python benchmarks/series_speed.py --rounds 3

Six weeks of hours with a daily and a weekly season and noise, whose truth is known. Three calls are timed
one after the other in each round: MSTL as it comes, MSTL with the same windows as ours but every point
computed, and ours, which computes every tenth point of trend and low-pass and draws lines between. The
added error is the root mean square difference of ours to the second, in standard deviations of the series.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.tsa.seasonal import MSTL

from otel_perfopt.analyse.season import decompose

Values = NDArray[np.float64]
HOURS = np.arange(1008)
PERIODS = (24, 168)
WINDOWS = (999, 999)


def series(seed: int) -> tuple[Values, Values]:
    """Return a series and its true season."""
    rng = np.random.default_rng(seed)
    daily = 2 * np.sin(2 * np.pi * (HOURS - rng.integers(24)) / 24)
    weekly = np.where(HOURS % 168 < 120, 0.6, -1.5)
    season = daily + weekly
    return 20 + season + 0.5 * np.cumsum(rng.normal(0, 0.02, HOURS.size)) + rng.normal(size=HOURS.size), season


def seasonal(fit: Any) -> Values:
    """Return the whole seasonal part, centred."""
    whole: Values = np.asarray(fit.seasonal).sum(axis=1)
    return whole - whole.mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    ratios, same_ratios, added, truths = [], [], [], []
    decompose(series(0)[0], PERIODS)
    for seed in range(arguments.rounds):
        values, truth = series(seed)
        truth = truth - truth.mean()
        times, found = [], []
        for call in (
            lambda values=values: seasonal(MSTL(values, periods=PERIODS).fit()),
            lambda values=values: seasonal(
                MSTL(values, periods=PERIODS, windows=WINDOWS, stl_kwargs={"seasonal_deg": 0}).fit()
            ),
            lambda values=values: np.sum(decompose(values, PERIODS)[1], axis=0),
        ):
            started = time.process_time()
            found.append(call())
            times.append(time.process_time() - started)
        ours = found[2] - found[2].mean()
        ratios.append(times[0] / times[2])
        same_ratios.append(times[1] / times[2])
        scale = float(values.std())
        added.append(float(np.sqrt(np.mean((ours - found[1]) ** 2))) / scale)
        truths.append([float(np.sqrt(np.mean((one - truth) ** 2))) / scale for one in (found[0], found[1], ours)])
    tell("times as fast as the plain call", ratios)
    tell("times as fast as the same windows, every point", same_ratios)
    tell("added error (sd)", added, digits=4)
    for name, column in zip(
        ("statsmodels' defaults", "our windows, every point", "ours"), np.transpose(truths), strict=True
    ):
        tell(f"error to the truth (sd), {name}", list(column), digits=3)


def tell(what: str, values: list[float], digits: int = 1) -> None:
    """Print the median and the range."""
    print(f"{what:58s} {np.median(values):.{digits}f}  ({min(values):.{digits}f} to {max(values):.{digits}f})")


if __name__ == "__main__":
    main()
