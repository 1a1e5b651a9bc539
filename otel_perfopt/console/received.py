"""What the receiver took in: requests and spans counted, as plain numbers for the overview."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Received:
    """Counts since the start: requests answered and refused, spans kept and rejected."""

    requests: int = 0
    refused: int = 0
    spans: int = 0
    rejected: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def kept(self, spans: int, rejected: int) -> None:
        """Count a request that was answered."""
        with self._lock:
            self.requests += 1
            self.spans += spans
            self.rejected += rejected

    def refuse(self) -> None:
        """Count a request that was not."""
        with self._lock:
            self.refused += 1
