"""What a failed call says about whom it was made to: an exception of any client in, overload or not and for how long out."""

from __future__ import annotations

_OVERLOAD_STATUS = frozenset({429, 503, 529})
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_LONGEST_PAUSE_S = 60.0


def is_overload(error: BaseException | None) -> bool:
    """Tell whether a provider refused a call because it has too many, or took too long for it."""
    if error is None:
        return False
    return _status(error) in _OVERLOAD_STATUS or _timed_out(error)


def is_transient(error: BaseException | None) -> bool:
    """Tell whether the same call may well succeed when it is made again."""
    if error is None:
        return False
    status = _status(error)
    named = any("Connection" in kind.__name__ for kind in type(error).__mro__)
    return status in _TRANSIENT_STATUS or (status is None and (named or _timed_out(error)))


def pause_s(error: BaseException | None) -> float:
    """Return the seconds that a refusal asks to wait (`retry-after-ms`, `retry-after`), at most 60; 0 for none."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return 0.0
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            asked = float(headers.get(name)) * unit_s
        except (TypeError, ValueError):
            continue
        if asked > 0:
            return min(asked, _LONGEST_PAUSE_S)
    return 0.0


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def _timed_out(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) or any("Timeout" in kind.__name__ for kind in type(error).__mro__)
