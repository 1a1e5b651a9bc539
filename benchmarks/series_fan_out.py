"""From how many series on workers pay: histories worked out here and by loky in turns, ratios of times out.

python benchmarks/series_fan_out.py                    # a few minutes
python benchmarks/series_fan_out.py --sizes 32 64 --rounds 2

Six weeks of hours a series, as an analysis has them. Workers are started anew in each round, as an
analysis starts its own. Above 1 they are faster; printed are medians over rounds and their range.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from joblib.externals.loky import get_reusable_executor

from otel_perfopt.analyse import fan_out
from otel_perfopt.analyse.histories import Asked, outcome_of
from otel_perfopt.execution.model import Target
from otel_perfopt.measure.measurement import Series
from otel_perfopt.measure.series import LATENCY_MEAN

HOURS = np.arange(1008)
MONDAY_NS = 1_788_739_200_000_000_000


def series(seed: int) -> Asked:
    """Return a daily rhythm in noise."""
    rng = np.random.default_rng(seed)
    values = 5 + np.sin(2 * np.pi * HOURS / 24) + 0.3 * rng.normal(size=HOURS.size)
    name = f"series {seed}"
    return Series(LATENCY_MEAN, Target(command=name), MONDAY_NS, 3600.0, tuple(values.tolist())), name, "s"


def seconds(asked: list[Asked], workers: int) -> float:
    """Return how long it takes, the workers' start included."""
    started = time.perf_counter()
    outcome_of(asked, workers=workers, backend="loky")
    took = time.perf_counter() - started
    if workers > 1:
        get_reusable_executor().shutdown(wait=True)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    fan_out.fan_out.__kwdefaults__["serial_below"] = 0  # the threshold is what is asked for
    seconds([series(0)], 1)
    for size in options.sizes:
        asked = [series(seed) for seed in range(size)]
        pairs = [(seconds(asked, 1), seconds(asked, options.workers)) for _ in range(options.rounds)]
        ratios = [alone / shared for alone, shared in pairs]
        each = np.median([alone for alone, _ in pairs]) / size
        print(
            f"{size:4} series, {each * 1000:.0f} ms each: {options.workers} workers are {np.median(ratios):.2f} times "
            f"as fast ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
    print(f"workers are used from {fan_out.SERIAL_BELOW} series on")


if __name__ == "__main__":
    main()
