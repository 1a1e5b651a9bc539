"""When heavy work may begin: the load's forecast in, yes in its troughs and at a deadline, no before out."""

from __future__ import annotations

from typing import Final

from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.analyse.seasonal_peak import TROUGH
from otel_perfopt.execution.model import Target
from otel_perfopt.measure.series import COUNT

DEADLINE_S: Final = 24 * 3600.0


class TroughSchedule:
    """Puts work off until the load is low, at most by `deadline_s`.

    The troughs are those that the last analysis forecast of the runs an hour. Where none is known to be
    coming or under way (no rhythm, not enough history, or all forecast ones are over) nothing is put off.
    """

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_ns = int(deadline_s * 1e9)
        self._windows: tuple[tuple[int, int], ...] = ()

    @property
    def windows(self) -> tuple[tuple[int, int], ...]:
        """The troughs known, each from and until when (Unix ns)."""
        return self._windows

    def learn(self, analysis: Analysis) -> None:
        """Go by the forecast of this analysis from now on."""
        self._windows = tuple(
            (window.start_ns, window.end_ns)
            for history in analysis.histories
            if history.series.metric == COUNT and history.series.target == Target()
            for window in history.coming
            if window.kind == TROUGH
        )

    def may_begin(self, now_ns: int, since_ns: int | None) -> bool:
        """Tell whether work that has waited since `since_ns` may begin (None: it has never been done, and may)."""
        if since_ns is None or now_ns - since_ns >= self._deadline_ns:
            return True
        known = [window for window in self._windows if now_ns < window[1]]
        return not known or any(start_ns <= now_ns for start_ns, _ in known)
