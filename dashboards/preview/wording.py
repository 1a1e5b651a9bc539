"""A value and a Grafana unit in, the text a panel shows out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

_SI = ((1e9, "G"), (1e6, "M"), (1e3, "K"))
_TIME = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def shown(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a value as Grafana would write it, or nearly."""
    if math.isnan(value):
        return "no data yet"
    write = _UNITS.get(unit)
    if write is not None:
        return write(value, decimals)
    return _short(value, decimals) if unit == "short" else _number(value, decimals)


def _seconds(value: float) -> str:
    for size, name in _TIME:
        if abs(value) >= size:
            return f"{value / size:.3g} {name}"
    return "0 s" if value == 0 else f"{value:.3g} s"


def mapped(value: float, mappings: list[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Return the text and colour of a code, None where it has none."""
    for mapping in mappings:
        found = mapping["options"].get(f"{value:g}")
        if found:
            return found["text"], found["color"]
    return None


def _short(value: float, decimals: int | None) -> str:
    for size, letter in _SI:
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return _number(value, decimals)


def _number(value: float, decimals: int | None) -> str:
    return f"{value:.{decimals}f}" if decimals is not None else f"{value:.3g}"


_UNITS: Mapping[str, Callable[[float, int | None], str]] = {
    "percentunit": lambda value, decimals: f"{value * 100:.{1 if decimals is None else decimals}f} %",
    "currencyUSD": lambda value, decimals: f"${value:.{3 if decimals is None else decimals}f}",
    "bytes": lambda value, _: f"{value / 2**20:.4g} MiB",
    "s": lambda value, _: _seconds(value),
}


# Grafana's colour names on a light page.
COLOURS = {
    "text": "#1f2933",
    "green": "#1a7f37",
    "yellow": "#b58105",
    "orange": "#d9730d",
    "red": "#c4162a",
    "dark-red": "#7a0a18",
    "blue": "#1f60c4",
    "super-light-blue": "#5794f2",
    "purple": "#8f3bb8",
}
