"""Runs with what they cost: any source of runs and a price table in, the same runs with costs out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from otel_perfopt.execution.model import Execution
from otel_perfopt.execution.source import ExecutionSource
from otel_perfopt.measure.price import PriceTable, priced
from otel_perfopt.signal.source import ReadTally

PRICES_FILE = "prices.json"


class PricedExecutions:
    """An `ExecutionSource` over another one; calls that state their own cost keep it."""

    def __init__(self, source: ExecutionSource, prices: PriceTable) -> None:
        self._source = source
        self._prices = prices

    @property
    def tally(self) -> ReadTally:
        """What the source has read so far, and what it could not."""
        return self._source.tally

    def executions(self) -> Iterator[Execution]:
        """Yield every run once, priced."""
        return (priced(execution, self._prices) for execution in self._source.executions())


def prices_of(home: Path) -> PriceTable:
    """Return the shipped prices with those of `<home>/prices.json`, where it exists, in their place.

    Raises:
        InvalidFileError: that file is no price table.
    """
    shipped, file = PriceTable.shipped(), home / PRICES_FILE
    if not file.is_file():
        return shipped
    own = PriceTable.load(file)
    return PriceTable({**shipped.models, **own.models}, own.as_of or shipped.as_of)
