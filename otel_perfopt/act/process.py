"""An optimization of a whole process: a rule in, the process changed out, and changed back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from otel_perfopt.act.enrolment import Use


class ProcessOptimization(Protocol):
    """Changes something that all calls of a process share.

    `begin`, `end` and `tick` are called from the thread that watches the snapshot, never two at once, and
    must not take long: what does has a thread of its own. What `begin` did `end` undoes exactly, and what
    somebody else has changed since stays as they left it.
    """

    @property
    def name(self) -> str:
        """The optimization's type."""
        ...

    def begin(self, use: Use) -> None:
        """Put it in force; in shadow it watches and changes nothing. Beginning twice is beginning once."""
        ...

    def end(self) -> None:
        """Take it back; nothing happens where it is not in force."""
        ...

    def tick(self, quiet_s: float) -> None:
        """Go on; no command has been open for `quiet_s` seconds (0: one is)."""
        ...

    def facts(self) -> Mapping[str, int]:
        """Return what it did so far, by field, for the spans of commands."""
        ...

    def after_fork(self) -> None:
        """Leave the parent's threads and locks behind; what is in force in memory is so here too."""
        ...
