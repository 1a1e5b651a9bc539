"""Moments as people read them: Unix nanoseconds in, day and hour in UTC out."""

from __future__ import annotations

from datetime import datetime, timezone


def day_and_hour(time_ns: int) -> str:
    """Return for example `2026-09-07 14:00 UTC`."""
    return datetime.fromtimestamp(time_ns / 1e9, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
