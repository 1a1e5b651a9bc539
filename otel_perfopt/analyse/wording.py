"""How findings say numbers: shares, times and tokens in, short plain text out."""

from __future__ import annotations

from otel_perfopt.analyse.finding import Interval


def percent(share: float) -> str:
    """Return a share as per cent: two digits below ten, whole above."""
    value = share * 100
    if 0 < abs(value) < 0.05:
        return "under 0.1 %"
    return f"{value:.1f} %" if abs(value) < 10 else f"{value:.0f} %"


def percent_range(interval: Interval) -> str:
    """Return the estimate and its interval in brackets."""
    return f"{percent(interval.estimate)} ({percent(interval.low)} to {percent(interval.high)})"


def counted(number: int, what: str) -> str:
    """Return a number with its noun, in the plural unless it is one."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def seconds(value: float) -> str:
    """Return a time in the largest unit that keeps two digits."""
    if value < 0.1:
        return f"{value * 1000:.3g} ms"
    if value < 120:
        return f"{value:.3g} s"
    if value < 7200:
        return f"{value / 60:.3g} min"
    return f"{value / 3600:.3g} h"


def tokens(value: float) -> str:
    """Return a number of tokens with a thousands or millions suffix."""
    if value < 10_000:
        return f"{value:.0f} tokens"
    if value < 10_000_000:
        return f"{value / 1000:.0f} k tokens"
    return f"{value / 1_000_000:.0f} M tokens"
