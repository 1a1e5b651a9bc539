"""Whether a trait is commoner among some than among all: four counts in, the chance of that out."""

from __future__ import annotations

from math import exp, lgamma


def enrichment(marked_with: int, marked: int, with_trait: int, everyone: int) -> float:
    """Return the one-sided p-value of Fisher's exact test: at least `marked_with` of the marked have the trait.

    `marked` of `everyone` are marked and `with_trait` of them have the trait.
    """
    most = min(marked, with_trait)
    total = _log_choose(everyone, marked)
    tail = (
        exp(_log_choose(with_trait, k) + _log_choose(everyone - with_trait, marked - k) - total)
        for k in range(marked_with, most + 1)
        if marked - k <= everyone - with_trait
    )
    return min(1.0, sum(tail))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
