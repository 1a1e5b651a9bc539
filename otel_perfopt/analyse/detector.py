"""What every detector offers: runs in one at a time, findings out at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from otel_perfopt.analyse.finding import Finding
from otel_perfopt.execution.model import Execution


class Detector(Protocol):
    """Looks at each run once, keeps what it needs in bounded memory, and says at the end what it found."""

    @property
    def name(self) -> str:
        """The detector's name, as findings carry it."""
        ...

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        ...

    def findings(self) -> Sequence[Finding]:
        """Return what was found in all runs observed so far; empty when there is not enough data."""
        ...
