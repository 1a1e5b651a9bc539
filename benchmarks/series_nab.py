"""Residual alarms on the Numenta Anomaly Benchmark: its labelled files in, scores by its published rules out.

python benchmarks/series_nab.py                         # the folder that tests use, about a minute
python benchmarks/series_nab.py --data PATH/nab.tar.gz
python benchmarks/series_nab.py --detector gaussian

Rules: Lavin & Ahmad 2015 (arXiv 1510.03336) and the benchmark's own scorer. A profile weighs hits, misses
and false alarms; one threshold serves the whole corpus; the first 15 % of a file (at most 750 rows) are not
scored; in a window the earliest alarm counts, the earlier the better; 0 is a detector that never speaks,
100 one that is perfect. The corpus here is the part of NAB in the archive; windows of absent files are left out.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from otel_perfopt.analyse.residual_alarm import SUPPRESSED_DAYS, suppress
from otel_perfopt.analyse.surprise import DAYS, departures, deviations, surprise, unlike_before

Values = NDArray[np.float64]
CHOSEN = "surprise (residual_alarm)"
PROBATION, PROBATION_ROWS = 0.15, 5000
# What an alarm in a window is worth, what one outside costs, and what a missed window costs.
PROFILES = {"standard": (1.0, 0.11, 1.0), "low false positives": (1.0, 0.22, 1.0), "low misses": (1.0, 0.11, 2.0)}


@dataclass(frozen=True)
class NabFile:
    """One series with its labelled windows as (first, last) rows."""

    name: str
    seconds: NDArray[np.int64]
    values: Values
    windows: tuple[tuple[int, int], ...]

    @property
    def probation(self) -> int:
        """How many rows at the start are not scored."""
        return int(min(np.floor(PROBATION * self.values.size), PROBATION * PROBATION_ROWS))


def read_corpus(archive: Path) -> list[NabFile]:
    """Read every labelled file that the archive holds."""
    with tarfile.open(archive) as tar:
        inside = {member.name.removeprefix("./"): member for member in tar.getmembers()}
        texts = {
            name: tar.extractfile(member).read().decode()  # type: ignore[union-attr]
            for name, member in inside.items()
            if name.endswith((".csv", "combined_windows.json"))
        }
    labels = json.loads(next(text for name, text in texts.items() if name.endswith("combined_windows.json")))
    return [
        _parse(name, texts[f"data/{name}"], windows)
        for name, windows in sorted(labels.items())
        if f"data/{name}" in texts
    ]


def _parse(name: str, text: str, windows: Sequence[Sequence[str]]) -> NabFile:
    rows = list(csv.DictReader(io.StringIO(text)))
    seconds = np.array([_seconds(row["timestamp"]) for row in rows], dtype=np.int64)
    values = np.array([float(row["value"]) for row in rows])
    found = tuple(
        (int(np.searchsorted(seconds, _seconds(low))), int(np.searchsorted(seconds, _seconds(high))))
        for low, high in windows
    )
    return NabFile(name, seconds, values, found)


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text.split(".", maxsplit=1)[0]).replace(tzinfo=timezone.utc).timestamp())


def scaled_sigmoid(place: Values) -> Values:
    """Return the worth of an alarm at `place`: -1 is a window's start, 0 its end, more is past it."""
    worth: Values = np.where(place >= 3.0, -1.0, 2 / (1 + np.exp(5 * np.minimum(place, 3.0))) - 1.0)
    return worth


def row_worth(file: NabFile, profile: tuple[float, float, float]) -> tuple[Values, NDArray[np.int64]]:
    """Return what an alarm at each row is worth, and the window it lies in (-1 outside)."""
    hit, false, _ = profile
    rows = np.arange(file.values.size)
    window = np.full(rows.size, -1, dtype=np.int64)
    worth = np.full(rows.size, -false)
    for number, (first, last) in enumerate(file.windows):
        width = last - first + 1
        inside = slice(first, last + 1)
        window[inside] = number
        place = -(last - rows[inside] + 1) / width
        worth[inside] = scaled_sigmoid(place) * hit / scaled_sigmoid(np.array([-1.0]))[0]
        following = file.windows[number + 1][0] if number + 1 < len(file.windows) else rows.size
        after = slice(last + 1, following)
        worth[after] = false * scaled_sigmoid((rows[after] - last) / max(width - 1.0, 1.0))
    return worth, window


@dataclass(frozen=True)
class NabScore:
    """The normalised score of a profile, its threshold, and the windows found and alarms outside at it."""

    score: float
    threshold: float
    windows_found: int
    windows: int
    false_alarms: int


def score_at(
    files: Sequence[NabFile], scores: Mapping[str, Values], profile: tuple[float, float, float], threshold: float
) -> float:
    """Return the normalised score at a threshold that was chosen elsewhere."""
    _, _, miss = profile
    total, windows = 0.0, 0
    for file in files:
        worth, window = row_worth(file, profile)
        judged = np.arange(file.values.size) >= file.probation
        alarms = (scores[file.name] >= threshold) & judged
        total += float(worth[alarms & (window < 0)].sum())
        for number in set(window[judged & (window >= 0)].tolist()):
            inside = alarms & (window == number)
            windows += 1
            total += max(-miss, float(worth[inside].max())) if inside.any() else -miss
    return 100 * (total + miss * windows) / (windows + miss * windows) if windows else 0.0


def score(files: Sequence[NabFile], scores: Mapping[str, Values], profile: tuple[float, float, float]) -> NabScore:
    """Sweep one threshold over the whole corpus and return the best normalised score."""
    _, _, miss = profile
    events: list[tuple[float, float, tuple[str, int] | None]] = []
    best_of: dict[tuple[str, int], float] = {}
    for file in files:
        worth, window = row_worth(file, profile)
        own = scores[file.name]
        for row in range(file.probation, file.values.size):
            key = (file.name, int(window[row])) if window[row] >= 0 else None
            if key is not None:
                best_of[key] = -miss
            if own[row] > 0:
                events.append((float(own[row]), float(worth[row]), key))
    events.sort(key=lambda event: -event[0])
    total = sum(best_of.values())
    best = (total, 1.1, 0, 0)
    found: set[tuple[str, int]] = set()
    false = 0
    for place, (value, worth_here, key) in enumerate(events):
        if key is None:
            total += worth_here
            false += 1
        elif worth_here > best_of[key]:
            total += worth_here - best_of[key]
            best_of[key] = worth_here
            found.add(key)
        last_of_level = place + 1 == len(events) or events[place + 1][0] != value
        if last_of_level and total > best[0]:
            best = (total, value, len(found), false)
    windows = len(best_of)
    silent = -miss * windows
    return NabScore(100 * (best[0] - silent) / (windows - silent), best[1], best[2], windows, best[3])


def suppressed(scores: Values, bins: int) -> Values:
    """Keep a score only where it exceeds all that were kept in the `bins` before: an alarm is not repeated."""
    return suppress(scores, bins)


def data_folder() -> Path:
    """Return the folder of recorded data: `PERFOPT_DATA`, else `../shared/data` beside the checkout."""
    named = os.environ.get("PERFOPT_DATA")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"


def day_of(file: NabFile) -> int:
    """Return how many rows make a day."""
    return max(1, round(86_400 / float(np.median(np.diff(file.seconds)))))


def gaussian(file: NabFile) -> Values:
    """Windowed Gaussian: decades of probability of each value among the 6,400 before."""
    return np.asarray(-log_ndtr(-np.abs(deviations(file.values))) / np.log(10))


def season_only(file: NabFile) -> Values:
    """Departure from the same time of the past days, in its own deviations."""
    return np.abs(deviations(departures(file.values, day_of(file), DAYS)))


def neighbours_only(file: NabFile) -> Values:
    """Unlikeness to all earlier stretches."""
    return unlike_before(file.values)


def silent(file: NabFile) -> Values:
    """No alarm ever: zero by definition."""
    return np.zeros(file.values.size)


# What is compared: (score of every row, whether repeats are suppressed).
DETECTORS: Mapping[str, tuple[Callable[[NabFile], Values], bool]] = {
    "silent": (silent, False),
    "gaussian": (gaussian, False),
    "gaussian, repeats suppressed": (gaussian, True),
    "same time of past days, suppressed": (season_only, True),
    "nearest neighbours, suppressed": (neighbours_only, True),
    "surprise, repeats not suppressed": (lambda file: surprise(file.values, day_of(file)), False),
    "surprise (residual_alarm)": (lambda file: surprise(file.values, day_of(file)), True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder() / "nab" / "nab.tar.gz")
    parser.add_argument("--detector", choices=list(DETECTORS), help="only this one")
    arguments = parser.parse_args()
    files = read_corpus(arguments.data)
    print(
        f"{len(files)} files, {sum(file.values.size for file in files):,} rows, {sum(len(file.windows) for file in files)} windows"
    )
    for name, (detector, suppresses) in DETECTORS.items():
        if arguments.detector in (None, name):
            started = time.perf_counter()
            scores = {file.name: _scored(file, detector, suppresses=suppresses) for file in files}
            tell(name, files, scores, time.perf_counter() - started)
            if name == CHOSEN:
                tell_spread(files, scores)


def _scored(file: NabFile, detector: Callable[[NabFile], Values], *, suppresses: bool) -> Values:
    scores = detector(file)
    return suppressed(scores, round(SUPPRESSED_DAYS * day_of(file))) if suppresses else scores


def tell(name: str, files: Sequence[NabFile], scores: Mapping[str, Values], seconds: float) -> None:
    """Print the scores of every profile."""
    found = {profile: score(files, scores, weights) for profile, weights in PROFILES.items()}
    standard = found["standard"]
    print(
        f"{name:36s} "
        + "  ".join(f"{profile} {one.score:5.1f}" for profile, one in found.items())
        + f"  windows {standard.windows_found}/{standard.windows}, false rows {standard.false_alarms}, "
        + f"threshold {standard.threshold:.3f}, {seconds:.0f} s"
    )


def tell_spread(files: Sequence[NabFile], scores: Mapping[str, Values]) -> None:
    """Print how much the standard score owes to these files, and what the threshold of one half gives the other."""
    rng = np.random.default_rng(0)
    drawn = [[files[place] for place in rng.integers(len(files), size=len(files))] for _ in range(200)]
    renamed = [[replace(file, name=f"{place}/{file.name}") for place, file in enumerate(sample)] for sample in drawn]
    values = [
        score(sample, {file.name: scores[file.name.split("/", 1)[1]] for file in sample}, PROFILES["standard"]).score
        for sample in renamed
    ]
    low, high = np.quantile(values, (0.025, 0.975))
    print(f"{'':36s} bootstrap over files: {low:.1f} to {high:.1f}")
    halves = []
    for _ in range(50):
        order = rng.permutation(len(files))
        fitted, judged = [files[i] for i in order[::2]], [files[i] for i in order[1::2]]
        threshold = score(fitted, scores, PROFILES["standard"]).threshold
        halves.append(score_at(judged, scores, PROFILES["standard"], threshold))
    print(f"{'':36s} threshold from one half, judged on the other: {np.mean(halves):.1f} (sd {np.std(halves):.1f})")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
