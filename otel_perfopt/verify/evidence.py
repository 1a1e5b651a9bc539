"""The base under every sequential test: what is never pooled over, and how evidence is mixed in log space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

LARGEST_LOG = 700.0


class Stratum(NamedTuple):
    """Units allocated under one rule: a stage of the roll-out and π, treatment's share of the enrolled."""

    stage: str
    allocation: float


def log_mean_exp(logs: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Return ln Σ wᵢ·exp(logᵢ), without overflow; weights sum to 1 and default to equal ones."""
    shares = weights if weights is not None else (1.0 / len(logs),) * len(logs)
    peak = max(logs)
    return peak + math.log(sum(share * math.exp(log - peak) for log, share in zip(logs, shares, strict=True)))


def e_value(log_e: float) -> float:
    """Return exp(`log_e`), held inside what a float can hold."""
    return math.exp(max(-LARGEST_LOG, min(LARGEST_LOG, log_e)))


def threshold(alpha: float) -> float:
    """Return ln(1/α), which evidence must reach: under the hypothesis it ever does with probability ≤ α (Ville)."""
    return -math.log(alpha)
