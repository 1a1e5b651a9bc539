"""How much of what was used is still there: the share of each unit in, a mean with bounds valid at any look out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ALPHA = 0.05
# The most of its capital that a bet may lose, as a share of what would ruin it; the paper's usual choice is a half.
_MOST = 0.9
_BISECTIONS = 20


@dataclass(frozen=True, slots=True)
class RetainedShare:
    """The mean share over units with its bounds."""

    units: int
    mean: float
    low: float
    high: float


def retained_share(shares: Sequence[float], alpha: float = ALPHA) -> RetainedShare | None:
    """Return the mean of shares in [0, 1] with a bound on either side at level `alpha` each; None for no units.

    Both bounds hold at any look, for shares of any distribution: capital is bet on the mean being
    above (below) a candidate, a bet on what earlier units showed, and a candidate against which the capital
    once grew to 1/alpha is out (Waudby-Smith & Ramdas, J. R. Stat. Soc. B 2024, 2010.09686). Without
    any loss a lower bound of 98 % takes about 165 units.
    """
    if not shares:
        return None
    low = _least(shares, alpha)
    high = 1.0 - _least([1.0 - share for share in shares], alpha)
    return RetainedShare(len(shares), math.fsum(shares) / len(shares), low, high)


def _least(shares: Sequence[float], alpha: float) -> float:
    """Return the largest candidate that is out from below; the bets depend on it, so it is sought by halving."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _is_out(shares, middle, alpha) else (low, middle)
    return low


def _is_out(shares: Sequence[float], candidate: float, alpha: float) -> bool:
    """Tell whether capital bet on a mean above the candidate ever reached 1/alpha."""
    needed = -math.log(alpha)
    wealth, mean, spread, seen = 0.0, 1.0, 0.0, 1
    for share in shares:
        edge = mean - candidate
        bet = min(_MOST / candidate, max(0.0, edge / (spread / seen + edge * edge))) if edge else 0.0
        wealth += math.log1p(bet * (share - candidate))
        if wealth >= needed:
            return True
        seen += 1
        step = share - mean
        mean += step / seen
        spread += step * (share - mean)
    return False
