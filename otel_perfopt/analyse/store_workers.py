"""Runs shown to many observers over worker processes: batches of rows in, an `Analyser` that has seen them all out."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final

from otel_perfopt.analyse.analyser import OPPORTUNITY, Analyser
from otel_perfopt.analyse.fan_out import fan_out
from otel_perfopt.execution.builder import executions_of
from otel_perfopt.measure.price import PriceTable, priced
from otel_perfopt.signal.record import SpanRecord

# Held for the workers, compressed, at some 60 bytes a span; more is shown to the observers in this process.
MOST_SPANS: Final = 1_500_000
# Below it, starting workers takes longer than it saves.
FEW_SPANS: Final = 30_000
_WHAT_IF_WEIGHT: Final = 12.0


@dataclass(frozen=True, slots=True)
class Packed:
    """Whole traces of a batch, small enough to send."""

    data: bytes
    spans: int

    @classmethod
    def of(cls, batch: Sequence[SpanRecord]) -> Packed:
        """Pack a batch."""
        return cls(zlib.compress(pickle.dumps(batch, protocol=pickle.HIGHEST_PROTOCOL), 1), len(batch))

    def unpack(self) -> Sequence[SpanRecord]:
        """Return the batch."""
        found: Sequence[SpanRecord] = pickle.loads(zlib.decompress(self.data))  # noqa: S301 - made by `of`
        return found


def observe_over_workers(
    batches: Iterable[Sequence[SpanRecord]], *, prices: PriceTable, seed: int, workers: int, backend: str
) -> Analyser:
    """Show every run of the batches, in order, to every observer.

    Observers learn from one run to the next (what is asked again, what follows, how much ran at once),
    so it is they, not the runs, that are shared out: each worker builds all runs and shows them to its
    part of the observers. The result is that of one process, to the last bit.
    """
    analyser = Analyser(seed=seed)
    coming = iter(batches)
    waiting = list(_packed(coming)) if workers > 1 else []
    left = next(coming, None)
    if left is None and sum(one.spans for one in waiting) >= FEW_SPANS:
        teams = _teams(analyser.size, workers)
        show = partial(_shown, waiting, prices, seed)
        for places, other in zip(teams, fan_out(teams, show, workers, backend, serial_below=2), strict=True):
            analyser.adopt(other, places)
        return analyser
    # Too few to be worth it, or too much to hold.
    _show(analyser, (one.unpack() for one in waiting), prices)
    _show(analyser, coming if left is None else chain((left,), coming), prices)
    return analyser


def _packed(batches: Iterator[Sequence[SpanRecord]]) -> Iterator[Packed]:
    held = 0
    while held < MOST_SPANS and (batch := next(batches, None)) is not None:
        held += len(batch)
        yield Packed.of(batch)


def _teams(size: int, workers: int) -> list[tuple[int, ...]]:
    """Share observers out: what-if, which takes as long as half of the others, counts as that many."""
    others = [place for place in range(size) if place != OPPORTUNITY]
    teams: list[list[int]] = [[] for _ in range(min(workers, size))]
    weights = [0.0] * len(teams)
    for place, weight in ((OPPORTUNITY, _WHAT_IF_WEIGHT), *((place, 1.0) for place in others)):
        least = weights.index(min(weights))
        teams[least].append(place)
        weights[least] += weight
    return [tuple(sorted(team)) for team in teams]


def _shown(waiting: Sequence[Packed], prices: PriceTable, seed: int, places: tuple[int, ...]) -> Analyser:
    analyser = Analyser(seed=seed)
    analyser.restrict(places)
    _show(analyser, (one.unpack() for one in waiting), prices)
    return analyser


def _show(analyser: Analyser, batches: Iterable[Sequence[SpanRecord]], prices: PriceTable) -> None:
    for batch in batches:
        for run in executions_of(batch):
            analyser.observe(priced(run, prices))
