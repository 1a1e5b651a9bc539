"""What replays gave: played runs by variant in, one row a variant beside its baseline and what was possible out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from replay_parts.played import Played
from replay_parts.possible import ALL_TOOLS, Possible
from replay_parts.replay_variants import Variant

from otel_perfopt.analyse.what_if import INPUT_TOKENS, LATENCY

DRAWS = 2000
# Chance must be able to show itself: below this many conversations an interval says nothing.
FEWEST = 5
# Whose rules say nothing only where there is nothing; other rules look at what these recordings do not state.
NEVER_SILENT = ("tool_cache", "parallel_tools", "preload", "response_cache")
MEASURES: Mapping[str, Callable[[Played], float]] = {
    "time": lambda row: row.seconds,
    "input tokens": lambda row: row.paid.input,
    "as if new": lambda row: row.paid.as_new,
    "USD": lambda row: row.paid.usd,
}
# Where it can be seen that an optimization did its work, in the order of a row.
_SHOWN = ("hits", "claimed", "started", "wasted", "applied")


@dataclass(frozen=True)
class Saving:
    """The share that is saved of the sums over all runs, with a 95 % bootstrap interval over conversations."""

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.share:.2f} % [{100 * self.low:.2f}, {100 * self.high:.2f}]"


def saving(before: Sequence[Played], after: Sequence[Played], measure: Callable[[Played], float]) -> Saving | None:
    """Return what `after` saves of `before`, the same runs in the same order; None where there is too little."""
    sums: dict[str, list[float]] = {}
    for one, other in zip(before, after, strict=True):
        assert one.conversation == other.conversation
        of = sums.setdefault(one.conversation, [0.0, 0.0])
        of[0] += measure(one)
        of[1] += measure(other)
    values = np.array(list(sums.values()))
    if len(values) < FEWEST or not values[:, 0].sum():
        return None
    drawn = values[np.random.default_rng(0).integers(0, len(values), (DRAWS, len(values)))].sum(axis=1)
    low, high = np.quantile(1 - drawn[:, 1] / np.maximum(drawn[:, 0], 1e-12), [0.025, 0.975])
    return Saving(float(1 - values[:, 1].sum() / values[:, 0].sum()), float(low), float(high))


def table(
    variants: Sequence[Variant],
    played: Mapping[str, Sequence[Played]],
    could_of: Callable[[Variant], Mapping[str, Possible]],
    *,
    timed: bool,
) -> list[str]:
    """Return the lines of one data set's table; `could_of` gives what was possible at a variant's provider."""
    lines = [
        f"  {'saved by':26}"
        + "".join(f"{name:>26}" for name in MEASURES)
        + f"{'foretold':>11}{'bound':>24}{'own ms':>8}{'false':>7}  what it did"
    ]
    for variant in variants:
        rows = played[variant.name]
        if not variant.optimizations:
            continue
        base = played["baseline, marked" if variant.marked else "baseline"]
        cells = [
            "no clock" if name == "time" and not timed else str(saving(base, rows, measure) or "too few")
            for name, measure in MEASURES.items()
        ]
        foretold, bound = _possible(variant, could_of(variant), timed=timed)
        wrong = sum(len(row.wrong) + row.other_replies for row in rows)
        lines.append(
            f"  {variant.name:26}"
            + "".join(f"{cell:>26}" for cell in cells)
            + f"{foretold:>11}{bound:>24}{_own_ms(base, rows):>8.2f}{wrong:>7}  {_did(rows)}"
        )
    return lines


def _possible(variant: Variant, could: Mapping[str, Possible], *, timed: bool) -> tuple[str, str]:
    if len(variant.optimizations) > 1:
        tools = could[ALL_TOOLS].bound if timed else None
        tokens = sum(could[name].bound or 0.0 for name in variant.optimizations if _of_tokens(could.get(name)))
        told = [f"{tools:.1%} time"] if tools is not None else []
        return "", " ".join([*told, f"{min(1.0, tokens):.0%} tokens"])
    name = variant.optimizations[0]
    of = could.get(name)
    if of is None:
        return "", "none possible" if name in NEVER_SILENT else "not stated"
    if of.bound is None:
        return f"{of.calls} calls", "no clock" if of.calls else "none possible"
    if not of.bound:
        return f"{of.foretold or 0:.2%}", "none possible"
    unit = "time" if of.metric == LATENCY else "tokens"
    return f"{of.foretold or 0:.2%}", f"{of.bound:.1%} {unit}"


def _own_ms(base: Sequence[Played], rows: Sequence[Played]) -> float:
    """Return the processor time that the optimization took more, in ms for each call of a model or a tool."""
    calls = sum(row.calls + row.asks for row in base)
    return 1e3 * (sum(row.work_s for row in rows) - sum(row.work_s for row in base)) / max(1, calls)


def _of_tokens(of: Possible | None) -> bool:
    return of is not None and of.metric == INPUT_TOKENS


def _did(rows: Sequence[Played]) -> str:
    counts: Counter[str] = Counter()
    for row in rows:
        for name, value in row.counts.items():
            field = name.rpartition(".")[2]
            counts[field] += value
    said = [f"{counts[field]:,} {field}" for field in _SHOWN if counts[field]]
    others = sum(row.other_replies for row in rows)
    if others:
        said.append(f"{others} replies other than recorded")
    made, calls = sum(row.made for row in rows), sum(row.calls for row in rows)
    if made != calls:
        said.append(f"{made:,} of {calls:,} tool calls made")
    return ", ".join(said) or "nothing to do"
