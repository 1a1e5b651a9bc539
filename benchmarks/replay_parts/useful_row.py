"""How much of what was sent was used: the requests of two variants as they were sent in, one line with both shares out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from replay_parts.played import Played

from otel_perfopt.analyse.useful_passages import Exchange, passage_use

DRAWS = 2000


def useful_lines(played: Mapping[str, Sequence[Played]], names: Sequence[str]) -> list[str]:
    """Return a line for each variant named, beside the baseline: the share in use, and its change with an interval.

    Useful are the characters whose passage this reply or a later one demonstrably used; an estimate, and a low one.
    """
    before = _by_conversation(played["baseline"])
    return [_line(name, before, _by_conversation(played[name])) for name in names]


def _by_conversation(rows: Sequence[Played]) -> np.ndarray:
    """Return by conversation the useful characters and all that were sent."""
    exchanges: dict[str, list[Exchange]] = {}
    for row in rows:
        exchanges.setdefault(row.conversation, []).extend(row.exchanges)
    uses = [passage_use(found) for found in exchanges.values()]
    return np.array([(use.useful, use.sent) for use in uses], dtype=float)


def _line(name: str, before: np.ndarray, after: np.ndarray) -> str:
    drawn = np.random.default_rng(0).integers(0, len(before), (DRAWS, len(before)))
    changes = _share(after[drawn]) / _share(before[drawn]) - 1
    low, high = np.quantile(changes, [0.025, 0.975])
    was, now = float(_share(before)), float(_share(after))
    change = f"{now / was - 1:+.1%} [{low:+.1%}, {high:+.1%}]"
    return f"  useful share of what is sent: {was:.1%} as it is, {now:.1%} with {name} ({change}; target +30 %)"


def _share(rows: np.ndarray) -> np.ndarray:
    sums = rows.sum(axis=-2)
    return np.asarray(sums[..., 0] / sums[..., 1])
