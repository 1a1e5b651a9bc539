"""A written time in, Unix nanoseconds out, exactly."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

_EPOCH: Final = date(1970, 1, 1).toordinal()
_ISO: Final = re.compile(
    r"\s*(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9})\d*)?)?\s*(?:(Z|z|UTC)|([+-])(\d\d):?(\d\d)?)?\s*"
)
_MAX_KNOWN_DAYS: Final = 1024

_days: dict[str, int] = {}


def parse_moment(text: object) -> tuple[int, bool] | None:
    """Return (Unix nanoseconds, whether the text lacked a zone), or None when it is no ISO 8601 time.

    A time without a zone is taken as UTC; the caller decides whether to complain.
    """
    if not isinstance(text, str):
        return None
    # The form every JavaScript program writes: 2026-02-09T11:06:05.375Z
    if len(text) == 24 and text[23] == "Z" and text[10] == "T" and text[19] == ".":
        try:
            seconds = int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
            return (_day(text[:10]) * 86_400 + seconds) * 1_000_000_000 + int(text[20:23]) * 1_000_000, False
        except ValueError:
            return None
    return _parse_any(text)


def _day(text: str) -> int:
    day = _days.get(text)
    if day is None:
        if len(_days) >= _MAX_KNOWN_DAYS:
            _days.clear()
        day = _days[text] = date(int(text[:4]), int(text[5:7]), int(text[8:10])).toordinal() - _EPOCH
    return day


def _parse_any(text: str) -> tuple[int, bool] | None:
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zulu, sign, zone_hours, zone_minutes = match.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH
    except ValueError:
        return None
    seconds = days * 86_400 + int(hour) * 3600 + int(minute) * 60 + int(second or 0)
    if sign:
        offset = int(zone_hours) * 3600 + int(zone_minutes or 0) * 60
        seconds -= offset if sign == "+" else -offset
    nanoseconds = int((fraction or "0").ljust(9, "0"))
    return seconds * 1_000_000_000 + nanoseconds, not (zulu or sign)
