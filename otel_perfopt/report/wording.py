"""How numbers read to people: a value in its unit in, a short text out; None reads as a dash."""

from __future__ import annotations

from datetime import datetime, timezone

from otel_perfopt.analyse.finding import Effect, Interval

UNKNOWN = "–"
_LEAST_PERCENT = 0.001


def seconds(value: float | None) -> str:
    """Write a duration, e.g. `340 ms`, `2.1 s`, `3 min 20 s`, `5.2 h`."""
    if value is None:
        return UNKNOWN
    size = abs(value)
    if size < 0.0995:
        return f"{value * 1e3:.2g} ms" if size < 0.0095 else f"{value * 1e3:.0f} ms"
    if size < 0.9995:
        return f"{value * 1e3:.0f} ms"
    if size < 120:
        return f"{value:.1f} s"
    if size < 7200:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes} min {rest:02d} s" if size < 600 else f"{value / 60:.0f} min"
    return f"{value / 3600:.1f} h"


def count(value: float | None) -> str:
    """Write a count, e.g. `812`, `41.3k`, `2.1M`."""
    if value is None:
        return UNKNOWN
    size = abs(value)
    for limit, scale, suffix in ((9_999.5, 1, ""), (999_950, 1e3, "k"), (999.95e6, 1e6, "M")):
        if size < limit:
            return f"{value / scale:,.0f}" if not suffix else f"{value / scale:.1f}{suffix}"
    return f"{value / 1e9:.1f}G"


def counted(value: float, what: str) -> str:
    """Write a count with what it counts, e.g. `1 file`, `3,546 lines`."""
    return f"{count(value)} {what}{'' if value == 1 else 's'}"


def share(value: float | None) -> str:
    """Write a share of one as per cent, e.g. `0.04 %`, `3.2 %`, `56 %`."""
    if value is None:
        return UNKNOWN
    percent = value * 100
    size = abs(percent)
    if size >= 9.95 or size == 0:
        return f"{percent:.0f} %"
    if size < _LEAST_PERCENT:
        return f"under {_LEAST_PERCENT} %"
    return f"{percent:.1f} %" if size >= 0.095 else f"{percent:.2g} %"


def factor(value: float | None) -> str:
    """Write a ratio, e.g. `1.35×`."""
    return UNKNOWN if value is None else f"{value:.2f}×"


def dollars(value: float | None) -> str:
    """Write an amount in US dollars."""
    if value is None:
        return UNKNOWN
    return f"${value:,.2f}" if abs(value) >= 0.995 else f"${value:.3g}"


def share_interval(interval: Interval | None) -> str:
    """Write a relative effect with its interval, e.g. `12 % (8 to 15 %)`."""
    if interval is None:
        return UNKNOWN
    low, high = share(interval.low).removesuffix(" %"), share(interval.high)
    return f"{share(interval.estimate)} ({low} to {high})"


def effect(value: Effect) -> str:
    """Write a finding's effect: its relative size with interval, else its absolute one."""
    if value.relative is not None:
        return f"{share_interval(value.relative)} of {value.metric.replace('_', ' ')}"
    if value.absolute is not None:
        write = seconds if value.unit == "s" else count
        return f"{write(value.absolute.estimate)} ({write(value.absolute.low)} to {write(value.absolute.high)})"
    return UNKNOWN


def moment(time_ns: int | None) -> str:
    """Write a Unix time in nanoseconds as UTC to the minute."""
    if time_ns is None:
        return UNKNOWN
    return datetime.fromtimestamp(time_ns / 1e9, tz=timezone.utc).strftime("%Y-%m-%d %H:%M")


def clock(time_ns: int) -> str:
    """Write a Unix time in nanoseconds as UTC to the second."""
    return datetime.fromtimestamp(time_ns / 1e9, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def digest(value: str) -> str:
    """Write a digest short enough to compare by eye."""
    return value.rpartition(":")[2][:12]
