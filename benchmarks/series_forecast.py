"""Forecasts against seasonal-naive on recorded load: real series in, errors, coverage and choices out.

python benchmarks/series_forecast.py            # servegen and nyc_taxi, about two minutes
python benchmarks/series_forecast.py servegen

Every forecast is made from an origin with nothing but what was before it: also which forecaster to
trust is chosen there, anew each time. MASE is the mean absolute error over that of seasonal-naive
within the history. The ratio's interval is a bootstrap over origins.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import tarfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from series_nab import data_folder, read_corpus

from otel_perfopt.analyse.forecast import forecast_of
from otel_perfopt.analyse.forecasters import seasonal_naive
from otel_perfopt.analyse.gaps import FilledValues, Values
from otel_perfopt.analyse.history import NotEnoughHistory

HOUR_S = 3600.0


@dataclass
class Record:
    """What forecasts of one series came to, one entry an origin."""

    errors: list[float] = field(default_factory=list)
    naive: list[float] = field(default_factory=list)
    scaled: list[float] = field(default_factory=list)
    held: list[float] = field(default_factory=list)
    methods: Counter[str] = field(default_factory=Counter)

    @property
    def ratio(self) -> float:
        """The error over seasonal-naive's."""
        return float(np.sum(self.errors) / np.sum(self.naive))

    def ratio_interval(self) -> tuple[float, float]:
        """The ratio's bootstrap interval over origins."""
        rng = np.random.default_rng(0)
        drawn = rng.integers(len(self.errors), size=(1000, len(self.errors)))
        ratios = np.array(self.errors)[drawn].sum(axis=1) / np.array(self.naive)[drawn].sum(axis=1)
        low, high = np.quantile(ratios, (0.025, 0.975))
        return float(low), float(high)


def servegen(archive: Path) -> dict[str, Values]:
    """Return hourly load of the whole and of each client that is never long silent, over fourteen days."""
    found: dict[str, Values] = {}
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if member.name.endswith("-trace.csv"):
                stream = tar.extractfile(member)
                assert stream is not None
                rates = [float(row[1]) for row in csv.reader(io.StringIO(stream.read().decode()))]
                found[Path(member.name).stem.removesuffix("-trace")] = np.array(rates).reshape(-1, 6).mean(axis=1)
    whole: Values = np.sum(list(found.values()), axis=0)
    # A client whose hour is silent more often than not has no rhythm to forecast, and a naive error of zero.
    busy = {name: values for name, values in sorted(found.items()) if np.mean(values > 0) > 0.5}
    return {"everybody": whole, **busy}


def tried(values: Values, period: int, horizon: int, origins: list[int], past: int) -> Record:
    """Forecast from each origin and score what came."""
    record = Record()
    for origin in origins:
        history = values[max(0, origin - past) : origin]
        filled = FilledValues(history, np.ones(history.size, dtype=np.bool_), 0, HOUR_S)
        truth = values[origin : origin + horizon]
        made = forecast_of(filled, period, horizon)
        naive = seasonal_naive(history, period, horizon)
        if isinstance(made, NotEnoughHistory):
            continue
        error = float(np.mean(np.abs(truth - np.array(made.expected))))
        record.errors.append(error)
        record.naive.append(float(np.mean(np.abs(truth - naive))))
        record.scaled.append(error / float(np.mean(np.abs(history[period:] - history[:-period]))))
        record.held.append(float(np.mean((truth >= np.array(made.low)) & (truth <= np.array(made.high)))))
        record.methods[made.method] += 1
    return record


def tell(name: str, record: Record) -> None:
    """Print one line."""
    low, high = record.ratio_interval()
    methods = ", ".join(f"{method} {count}" for method, count in record.methods.most_common(3))
    print(
        f"{name:14s} {len(record.errors):3d} origins  error/naive {record.ratio:5.3f} ({low:.3f} to {high:.3f})  "
        f"MASE {np.mean(record.scaled):5.3f}  in 90 % interval {100 * np.mean(record.held):5.1f} %  {methods}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="?", choices=("servegen", "nyc_taxi"))
    parser.add_argument("--data", type=Path, default=data_folder())
    arguments = parser.parse_args()
    started = time.perf_counter()
    if arguments.which in (None, "servegen"):
        worst = 0.0
        together = Record()
        for name, values in servegen(arguments.data / "servegen" / "m-small.tar.gz").items():
            origins = list(range(7 * 24, values.size - 24 + 1, 7))
            record = tried(values, 24, 24, origins, values.size)
            tell(name, record)
            worst = max(worst, record.ratio)
            together.errors += [error / np.mean(record.naive) for error in record.errors]
            together.naive += [error / np.mean(record.naive) for error in record.naive]
            together.scaled += record.scaled
            together.held += record.held
            together.methods += record.methods
        tell("servegen", together)
        print(f"servegen: the worst series has {worst:.3f} times seasonal-naive's error")
    if arguments.which in (None, "nyc_taxi"):
        taxi = next(item for item in read_corpus(arguments.data / "nab" / "nab.tar.gz") if "nyc_taxi" in item.name)
        values = taxi.values.reshape(-1, 2).sum(axis=1)
        for horizon in (24, 168):
            origins = list(range(6 * 168, values.size - horizon + 1, 7 * 24 // 2 + 12))
            tell(f"nyc_taxi {horizon} h", tried(values, 168, horizon, origins, 12 * 168))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
