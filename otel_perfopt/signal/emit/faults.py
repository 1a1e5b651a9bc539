"""Faults of our own code on the agent side: an exception in, a count out and one log line a kind."""

from __future__ import annotations

import logging
from collections import Counter

_logger = logging.getLogger("otel_perfopt")

# Counted by kind; read it to learn what went wrong without having been told by an exception.
faults: Counter[str] = Counter()
_MAX_KINDS = 200


def fault(kind: str, error: BaseException | None = None) -> None:
    """Count a fault of `kind` (a short fixed word, not data) and log its first occurrence; never raises."""
    try:
        first = kind not in faults
        if first and len(faults) >= _MAX_KINDS:
            kind, first = "other", False
        faults[kind] += 1
        if first:
            _logger.warning("fault in %s, continuing without it: %r", kind, error)
            _logger.debug("details", exc_info=error)
    except Exception:  # noqa: S110 - a logging handler of the host may raise; there is nowhere left to say so
        pass
