"""How everything downstream reads runs, whatever holds them: a window of time in, `Execution`s out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from otel_perfopt.execution.model import Execution
from otel_perfopt.signal.source import ReadTally


class ExecutionSource(Protocol):
    """Runs from files, or from a store; a source can be iterated once, in bounded memory."""

    @property
    def tally(self) -> ReadTally:
        """What has been read so far, and what could not be."""
        ...

    def executions(self) -> Iterator[Execution]:
        """Yield every run once."""
        ...
