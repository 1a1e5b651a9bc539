"""The prices that hold for a home folder: the folder in, the shipped table with its own prices in place out."""

from __future__ import annotations

from pathlib import Path

from otel_perfopt.measure.price import PriceTable

PRICES_FILE = "prices.json"


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
