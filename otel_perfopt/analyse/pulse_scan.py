"""How sure it is that a series departs from its rhythm for some hours: values in, decades of improbability by length out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from otel_perfopt.analyse.gaps import Values
from otel_perfopt.analyse.surprise import DAYS, departures
from otel_perfopt.analyse.tail import Tail

# Stretches that are looked for, in bins, each with how much heavier than estimated the tail of its noise is taken
# to be (in standard errors). One wild hour is what heavy noise has anyway; several in a row are not.
LENGTHS: Final = ((1, 1.5), (4, 0.5), (8, 0.5), (16, 0.5))
# No single hour may speak for a stretch: beyond so many deviations it counts as that.
MOST_OF_ONE: Final = 4.0
MOST_CORRELATED: Final = 0.99
# The median absolute deviation of normal noise times this is its standard deviation.
_TO_SD: Final = 1.4826


@dataclass(frozen=True, slots=True)
class Stretch:
    """Stretches of one length: for each bin how sure a departure that ends with it is, and how sure it has to be."""

    bins: int
    decades: Values
    needed: float


@dataclass(frozen=True, slots=True)
class Innovations:
    """What each bin brings that the one before it did not foretell, in robust deviations of the past; `carried` is ρ."""

    values: Values
    carried: float


def innovations_of(values: Values, observed: NDArray[np.bool_], day: int, past: slice) -> Innovations:
    """Return departures from the same time of past days, less what of them the bin before carries over (AR(1)).

    Correlation and scale are those of `past`, robustly. Bins that were not observed, or follow one
    that was not, bring nothing.
    """
    apart = np.where(observed, departures(values, day, DAYS), 0.0)
    before = apart[past]
    middle = float(np.median(before))
    scale = _scale(before)
    kept = np.clip(before - middle, -3 * scale, 3 * scale)
    power = float(np.sum(kept * kept))
    rho = max(0.0, float(np.sum(kept[1:] * kept[:-1]) / power)) if power > 0 else 0.0
    # Kendall's correction: fitting the level makes noise look less correlated than it is.
    rho = min(MOST_CORRELATED, rho + (1 + 3 * rho) / max(1, before.size))
    fresh = apart.copy()
    fresh[1:] -= rho * apart[:-1]
    known = observed.copy()
    known[1:] &= observed[:-1]
    centred = np.where(known, fresh - float(np.median(fresh[past])), 0.0)
    return Innovations(centred / _scale(fresh[past]), rho)


def stretches(innovations: Innovations, past: slice, alpha: float) -> Iterator[Stretch]:
    """Yield each length with its score at every bin: a sum matched to a constant departure of that length.

    A departure brings itself at once and 1 - ρ of itself with each bin after. What such sums come to
    in noise the past says. `alpha` is shared by the lengths and by the bins after the past, of which those
    less than a length apart are not worth one each.
    """
    values, rho = innovations.values, innovations.carried
    clipped = np.clip(values, -MOST_OF_ONE, MOST_OF_ONE)
    judged = max(1, values.size - past.stop)
    for bins, heavier in LENGTHS:
        weights = np.full(bins, 1 - rho)
        weights[0] = 1.0
        source = values if bins == 1 else clipped
        padded = np.concatenate((np.zeros(bins - 1), source))
        size = np.abs(np.correlate(padded, weights, "valid"))
        decades = Tail.of(size[past]).surely(size, bins, heavier)
        needed = -np.log10(alpha * np.sqrt(bins) / (judged * len(LENGTHS)))
        yield Stretch(bins, decades, float(needed))


def _scale(values: Values) -> float:
    scale = float(np.median(np.abs(values - np.median(values)))) * _TO_SD
    # A series that hardly ever moves has no such scale; its standard deviation is one.
    return scale or float(values.std()) or 1.0
