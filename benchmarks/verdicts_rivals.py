"""What others' sequential designs say of the same draws: gbstats in an environment of its own, group-sequential by us."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve
from scipy.stats import norm

Array = np.ndarray
NEVER = np.iinfo(np.int64).max
# Read and written as files, because gbstats needs another numpy than ours.
GBSTATS = """
import sys
import numpy as np
from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest
from gbstats.models.statistics import ProportionStatistic, SampleMeanStatistic

drawn = np.load(sys.argv[1])
treated, values, every = drawn["treated"], drawn["values"].astype(float), int(drawn["every"])
above, is_share = bool(drawn["above"]), bool(drawn["is_share"])
config = SequentialConfig(
    difference_type="absolute", alpha=float(drawn["alpha"]),
    sequential_tuning_parameter=float(drawn["tuning"]),
)
looks = np.arange(every, treated.shape[1] + 1, every) - 1
sums = [
    np.cumsum(part, axis=1)[:, looks]
    for arm in (~treated, treated) for part in (arm * 1.0, values * arm, values**2 * arm)
]
found = np.full(len(treated), np.iinfo(np.int64).max)
for row in range(len(treated)):
    for column, look in enumerate(looks):
        n_c, sum_c, square_c, n_t, sum_t, square_t = (part[row, column] for part in sums)
        if min(n_c, n_t) < 30:
            continue
        if is_share:
            arms = [ProportionStatistic(n=int(n), sum=int(s)) for n, s in ((n_c, sum_c), (n_t, sum_t))]
        else:
            arms = [
                SampleMeanStatistic(n=int(n), sum=s, sum_squares=q)
                for n, s, q in ((n_c, sum_c, square_c), (n_t, sum_t, square_t))
            ]
        test = SequentialTwoSidedTTest(*arms, config)
        if not test.variance > 0:
            continue
        low, high = test.confidence_interval
        if (low > 0 if above else high < 0):
            found[row] = look + 1
            break
np.save(sys.argv[2], found)
"""


class Gbstats:
    """gbstats' sequential test in a virtual environment that is made once a machine."""

    def __init__(self, folder: Path) -> None:
        self._python = folder / "bin" / "python"
        if not self._python.exists():
            print(f"(making {folder} with gbstats and numpy<2, once)", flush=True)
            venv.create(folder, with_pip=True)
            install = [str(self._python), "-m", "pip", "install", "-q", "gbstats", "numpy<2"]
            subprocess.run(install, check=True)

    def decided(
        self,
        treated: Array,
        values: Array,
        *,
        above: bool,
        alpha: float,
        tuning: float,
        is_share: bool = False,
        every: int = 20,
    ) -> Array:
        """Return after how many units of each roll-out its interval left zero on the side asked about.

        Its test is two-sided: `alpha` is what it is given. It looks every `every` units.
        """
        with tempfile.TemporaryDirectory() as folder:
            drawn, found = Path(folder, "drawn.npz"), Path(folder, "found.npy")
            facts = {"alpha": alpha, "tuning": tuning, "every": every, "above": above, "is_share": is_share}
            np.savez(drawn, treated=treated, values=values, **facts)
            subprocess.run([str(self._python), "-c", GBSTATS, str(drawn), str(found)], check=True)
            result: Array = np.load(found)
            return result


def spending_bounds(alpha: float, looks: int) -> Array:
    """Return one-sided z bounds of `looks` equally spaced looks that spend `alpha` as O'Brien and Fleming would.

    Lan–DeMets spending 2 − 2Φ(z_{α/2}/√t). Each bound solves for what is spent at its look, with the
    density of the sum of those not stopped carried from look to look (Armitage, McPherson & Rowe 1969;
    Jennison & Turnbull 2000, ch. 19), here on a grid.
    """
    times = np.arange(1, looks + 1) / looks
    spent = 2 - 2 * norm.cdf(norm.ppf(1 - alpha / 2) / np.sqrt(times))
    step = 1 / math.sqrt(looks)
    grid = np.linspace(-8.0, 8.0, 16_001)
    width = grid[1] - grid[0]
    density = norm.pdf(grid, scale=step)
    kernel = norm.pdf(grid, scale=step) * width
    bounds = []
    for look, (time, share) in enumerate(zip(times, np.diff(spent, prepend=0.0), strict=True)):
        if look:
            density = np.maximum(0.0, fftconvolve(density, kernel, mode="same"))
        tail = np.cumsum(density[::-1])[::-1] * width
        bound = float(np.interp(-share, -tail, grid))
        density = np.where(grid >= bound, 0.0, density)
        bounds.append(bound / math.sqrt(time))
    return np.array(bounds)


def planned_units(effect: float, sd: float, share: float, alpha: float, power: float, looks: int) -> int:
    """Return the largest size of a group-sequential design that finds `effect` with `power` when it is told the truth."""
    bounds = spending_bounds(alpha, looks)
    rng = np.random.default_rng(1)
    steps = rng.normal(size=(20_000, looks)) / math.sqrt(looks)
    times = np.arange(1, looks + 1) / looks
    low, high = 0.0, 20.0
    for _ in range(40):
        drift = (low + high) / 2
        z = (np.cumsum(steps, axis=1) + drift * times) / np.sqrt(times)
        low, high = (low, drift) if (z >= bounds).any(axis=1).mean() >= power else (drift, high)
    return math.ceil((high * sd / effect) ** 2 / (share * (1 - share)))


def group_sequential(treated: Array, values: Array, *, above: bool, alpha: float, looks: int, units: int) -> Array:
    """Return after how many units of each roll-out a design of `looks` looks up to `units` units stopped for effect."""
    bounds = spending_bounds(alpha, looks)
    found = np.full(len(treated), NEVER)
    for bound, look in zip(bounds, np.linspace(units / looks, units, looks).astype(int), strict=True):
        arms = []
        for arm in (treated[:, :look], ~treated[:, :look]):
            count = np.maximum(1, arm.sum(axis=1))
            mean = (values[:, :look] * arm).sum(axis=1) / count
            squares = (values[:, :look] ** 2 * arm).sum(axis=1) / count
            arms.append((mean, np.maximum(1e-12, squares - mean**2) / count))
        z = (arms[0][0] - arms[1][0]) / np.sqrt(arms[0][1] + arms[1][1])
        found = np.where((found == NEVER) & ((z if above else -z) >= bound), look, found)
    return found


if __name__ == "__main__":
    print("bounds of 5 looks at 2.5 %, published 4.877 3.357 2.680 2.290 2.031:", spending_bounds(0.025, 5).round(3))
    sys.exit(0)
